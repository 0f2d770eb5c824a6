"""`python -m vlground` is `vlground`."""

from vlground.run import main

main()
