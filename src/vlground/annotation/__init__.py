"""The page on which people score what a judge was shown, without knowing what it said."""
