"""The data sets inside the package."""
