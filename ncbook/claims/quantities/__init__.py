"""One module a chapter: functions from one seed's rows of a table to the number that a claim is about."""
