"""The page, served at /ui/. Its sources are in source/, and static/ holds what they build to."""
