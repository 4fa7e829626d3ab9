"""Claims written down in a file ``claims.yml`` before they are tested, and their verdicts by one fixed rule."""
