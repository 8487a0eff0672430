"""The smallest work for a cluster."""

from harness.compute.cluster.opening import opened_cluster


def open_and_add(where: str) -> None:
    """Open a cluster and have a worker add."""
    with opened_cluster(where, None, "score", 2) as executor:
        assert [value for _, value in executor.map_unordered(eval, ["1 + 1"])] == [2]
