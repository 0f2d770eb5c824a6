"""The report page: what lies under a folder of runs, as one HTML file that needs no network."""
