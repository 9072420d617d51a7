"""What the documents say, typed as it stands there: README and the labs."""
