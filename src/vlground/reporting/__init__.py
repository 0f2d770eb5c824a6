"""What `vlground-report` says of runs: tables with their notes, and how they are printed."""
