"""The fold: pure; what each event tells of its order, and how what was told comes together."""
