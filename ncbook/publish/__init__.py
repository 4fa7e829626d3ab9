"""From chapters to the book: execute notebooks, judge claims, draw figures, keep records, verify them, render the pages."""
