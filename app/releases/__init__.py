"""What is done with finished classifiers: classes added by name, two compared, none merged."""
