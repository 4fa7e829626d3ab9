"""The version of ncbook: the only place that says it. It needs no installed metadata, so a checkout on a bare path knows it as well."""

__version__ = "0.1.0"
