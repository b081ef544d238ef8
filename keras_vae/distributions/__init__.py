"""Distributions that TFP lacks, a family a file, for the parts to be made of."""
