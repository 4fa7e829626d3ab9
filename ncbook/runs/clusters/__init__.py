"""Ready configurations of Parsl, each a file with a function ``config``: copy one, change what differs at your site, and give its path."""
