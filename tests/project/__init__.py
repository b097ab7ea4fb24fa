"""What is around the house: how it is built, packaged, documented and run."""
