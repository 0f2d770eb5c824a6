"""`python -m vlground` is `vlground`."""

from vlground.command import main

main()
