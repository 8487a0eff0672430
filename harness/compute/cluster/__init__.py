"""Workers on a cluster, by Dask."""
