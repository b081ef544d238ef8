"""The sets that z may live in, in words: posterior and prior must name the same one."""

REALS = "all real vectors"
SPHERE = "unit vectors"
CUBE = "vectors in (0, 1)"
BITS = "vectors of 0 and 1"


def simplices(classes: int) -> str:
    """Groups of `classes` positive numbers, each of which sums to one."""
    return f"groups of {classes} positive numbers that sum to 1"


def one_hots(classes: int) -> str:
    """Groups of `classes` numbers, one of them 1 and the others 0."""
    return f"groups of {classes} numbers, one of them 1, the others 0"


def blocks(supports: list[str], sizes: list[int]) -> str:
    """Blocks of z one after the other; neighbours in the same set are one block."""
    merged: list[tuple[str, int]] = []
    for support, size in zip(supports, sizes, strict=True):
        if merged and merged[-1][0] == support:
            merged[-1] = (support, merged[-1][1] + size)
        else:
            merged.append((support, size))
    if len(merged) == 1:
        return merged[0][0]
    return "; ".join(f"{support} ({size} values)" for support, size in merged)
