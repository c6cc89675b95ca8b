"""How studies are conducted: pieces of work that are kept, done here, by processes, or by a Dask cluster."""
