"""Categories of a dataset: names, ids, which is part of which, and which one is background."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from subregion.errors import RecordError, UnknownCategoryError, shown
from subregion.libraries import networkx

#: The name of what is no object.
BACKGROUND = "background"


@dataclass(frozen=True)
class Categories(Sequence[str]):
    """The categories of a dataset, with those that only stand above others, in a fixed order.

    A name has a position, its index in this sequence, which is what networks predict, and an id, which is
    what annotations write. A supercategory that is no category itself comes behind the first one that names
    it, as in kwcoco, and gets the next free id.

    Parameters
    ----------
    entries : tuple of Mapping
        The categories as the dataset has them.

    Raises
    ------
    RecordError
        If a category has no name or no whole number for its id, if one is given twice, or if a category
        stands above itself.

    Examples
    --------
    >>> cats = Categories.of([{"id": 3, "name": "cat", "supercategory": "animal"}, {"id": 5, "name": "car"}])
    >>> list(cats), cats.ids
    (['cat', 'animal', 'car'], (3, 6, 5))
    >>> cats.index("car"), cats.id_to_idx[5], cats.name_of(5), cats.background_id
    (2, 2, 'car', 0)
    """

    entries: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        _ = self.names, self.ids
        for name in self.names:
            self.ancestors(name)  # a circle is told now

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]] | None) -> Categories:
        """Take over the list ``categories`` of a dataset; None is an empty one."""
        entries = () if entries is None else entries
        if isinstance(entries, str | bytes | Mapping) or not isinstance(entries, Iterable):
            raise RecordError(f"categories={shown(entries)} must be a list.")
        return cls(tuple(_checked(place, entry) for place, entry in enumerate(entries)))

    @classmethod
    def coerce(cls, given: Any) -> Categories:
        """Make categories of what stands for some.

        Parameters
        ----------
        given : Categories, int, sequence of str or Mapping, graph, or kwcoco.CategoryTree
            A number makes names ``class_1``, ``class_2``, ...; names get ids from 0 on, or from 1 on if
            ``"background"`` is among them, which then gets 0; entries are those of a dataset; of a directed
            graph the nodes are the names, and edges go from a supercategory to its parts.
        """
        if isinstance(given, Categories):
            return given
        if isinstance(given, int) and not isinstance(given, bool):
            return cls.coerce([f"class_{number}" for number in range(1, given + 1)])
        graph = getattr(given, "graph", given)
        if hasattr(graph, "pred") and hasattr(graph, "nodes"):
            return cls.of(_of_graph(graph, getattr(given, "node_to_id", {})))
        if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            raise RecordError(
                f"categories cannot be made of {shown(given)}; give names, entries or a number."
            )
        listed = list(given)
        if all(isinstance(entry, str) for entry in listed):
            first = int(BACKGROUND in listed)
            return cls.of(
                {"id": 0 if name == BACKGROUND else number, "name": name}
                for number, name in enumerate(listed, first)
            )
        return cls.of(listed)

    # Positions and names.

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, by position."""
        found: dict[str, None] = {}
        for entry in self.entries:
            found.setdefault(entry["name"])
            if entry.get("supercategory") is not None:
                found.setdefault(entry["supercategory"])
        return tuple(found)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The id of each name, by position."""
        own = {entry["name"]: entry["id"] for entry in self.entries}
        if len(own) != len(self.entries) or len(set(own.values())) != len(own):
            raise RecordError(f"categories: {_twice(self.entries)}.")
        free = max(own.values(), default=0) + 1
        ids = []
        for name in self.names:
            if name in own:
                ids.append(own[name])
            else:
                ids.append(free)
                free += 1
        return tuple(ids)

    @cached_property
    def category_ids(self) -> tuple[int, ...]:
        """The ids of those that the dataset lists, in ascending order: without what only stands above."""
        return tuple(sorted(entry["id"] for entry in self.entries))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...

    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        return self.names[place]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, Hashable) and name in self.node_to_idx

    def index(self, name: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the position of a name."""
        place = self.node_to_idx.get(name)
        if place is None or place not in range(*slice(start, stop).indices(len(self))):
            raise UnknownCategoryError(f"no category {shown(name)}; there is: {_listed(self.names)}.")
        return place

    @cached_property
    def node_to_idx(self) -> dict[str, int]:
        """From name to position."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def node_to_id(self) -> dict[str, int]:
        """From name to id."""
        return dict(zip(self.names, self.ids, strict=True))

    @cached_property
    def id_to_node(self) -> dict[int, str]:
        """From id to name."""
        return dict(zip(self.ids, self.names, strict=True))

    @cached_property
    def id_to_idx(self) -> dict[int, int]:
        """From id to position."""
        return {category_id: place for place, category_id in enumerate(self.ids)}

    @property
    def idx_to_id(self) -> list[int]:
        """From position to id."""
        return list(self.ids)

    @property
    def idx_to_node(self) -> list[str]:
        """From position to name."""
        return list(self.names)

    def name_of(self, category_id: int) -> str:
        """Return the name of an id.

        Raises
        ------
        UnknownCategoryError
            If there is none.
        """
        try:
            return self.id_to_node[category_id]
        except (KeyError, TypeError):
            raise UnknownCategoryError(
                f"no category with id {shown(category_id)}; there is: {_listed(self.ids)}."
            ) from None

    def id_of(self, category: Any) -> int:
        """Return the id of a category that is given by its name or its id.

        Raises
        ------
        UnknownCategoryError
            If there is none.
        """
        if isinstance(category, str):
            return self.ids[self.index(category)]
        self.name_of(category)
        return int(category)

    # What stands above what.

    @cached_property
    def parents(self) -> dict[str, str]:
        """From a name to that of its supercategory, where it has one."""
        return {
            entry["name"]: entry["supercategory"]
            for entry in self.entries
            if entry.get("supercategory") not in (None, entry["name"])  # COCO: {"person", "person"}
        }

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Return the supercategory of a name, that of this, and so on."""
        found: list[str] = []
        while (name := self.parents.get(name, "")) != "":
            if name in found:
                raise RecordError(f"categories: {shown(name)} stands above itself.")
            found.append(name)
        return tuple(found)

    def descendants(self, name: str) -> tuple[str, ...]:
        """Return all names that stand below one, by position."""
        self.index(name)
        return tuple(other for other in self.names if name in self.ancestors(other))

    def is_mutex(self) -> bool:
        """Whether no two of them can be true of one object: none stands above another."""
        return not self.parents

    @cached_property
    def graph(self) -> Any:
        """The hierarchy as a `networkx.DiGraph`, from above to below; nodes have what the dataset says."""
        graph = networkx.DiGraph()
        own = {entry["name"]: entry for entry in self.entries}
        graph.add_nodes_from((name, dict(own.get(name, {}))) for name in self.names)
        graph.add_edges_from((above, name) for name, above in self.parents.items())
        return graph

    @property
    def background_id(self) -> int:
        """The id of the category "background"; 0 if there is none of that name."""
        return self.node_to_id.get(BACKGROUND, 0)

    def to_coco(self) -> list[dict[str, Any]]:
        """Return the entries as a dataset has them."""
        return [dict(entry) for entry in self.entries]

    def __eq__(self, other: object) -> bool:
        return self.entries == other.entries if isinstance(other, Categories) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.names, self.ids))

    def __repr__(self) -> str:
        return f"<Categories: {_listed(self.names)}>"


def _checked(place: int, entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise RecordError(f"categories[{place}]={shown(entry)} must be an object.")
    name, category_id, above = entry.get("name"), entry.get("id"), entry.get("supercategory")
    if not isinstance(name, str) or not name:
        raise RecordError(f"categories[{place}].name={shown(name)} must be text.")
    if isinstance(category_id, bool) or not isinstance(category_id, int) or not 0 <= category_id < 1 << 62:
        raise RecordError(f"categories[{place}].id={shown(category_id)} must be a whole number, at least 0.")
    if above is not None and not isinstance(above, str):
        raise RecordError(f"categories[{place}].supercategory={shown(above)} must be text.")
    return {key: value for key, value in entry.items() if key != "supercategory" or value}


def _twice(entries: tuple[Mapping[str, Any], ...]) -> str:
    seen: set[Any] = set()
    for entry in entries:
        for key in ("id", "name"):
            mark = key, entry[key]
            if mark in seen:
                return f"the {key} {shown(entry[key])} is given twice"
            seen.add(mark)
    return "an id or a name is given twice"


def _of_graph(graph: Any, ids: Mapping[Any, int]) -> list[dict[str, Any]]:
    """Return the nodes of a graph as entries."""
    known = {name: data.get("id", ids.get(name)) for name, data in graph.nodes(data=True)}
    free = max((one for one in known.values() if one is not None), default=0) + 1
    entries = []
    for name, data in graph.nodes(data=True):
        category_id = known[name]
        if category_id is None:
            category_id = free
            free += 1
        above = next(iter(graph.pred[name]), None)
        entries.append(
            {**data, "id": category_id, "name": name} | ({"supercategory": above} if above else {})
        )
    return entries


def _listed(values: Sequence[Any], most: int = 12) -> str:
    text = ", ".join(map(str, values[:most]))
    return f"{text}, ... ({len(values)} in all)" if len(values) > most else text or "none"
