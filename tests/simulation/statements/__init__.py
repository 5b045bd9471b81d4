"""What each SQL statement of the platform does, in Python, one module for each group of tables."""
