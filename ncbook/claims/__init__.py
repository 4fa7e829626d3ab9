"""Claims written down in ``book/claims.yml`` before they are tested, and their verdicts by one fixed rule."""
