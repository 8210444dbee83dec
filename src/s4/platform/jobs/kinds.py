"""Kinds of jobs that only some workers can do: `kind/to`. Who cannot do them does not claim them."""


def narrowed(kind: str, to: str) -> str:
    """The kind for the workers that are `to`'s."""
    return f"{kind}/{to}"


def broad(kind: str) -> str:
    """What a kind is, whoever can do it."""
    return kind.partition("/")[0]


def narrowed_to(kind: str) -> str:
    """Whose kind it is; empty when anybody can do it."""
    return kind.partition("/")[2]
