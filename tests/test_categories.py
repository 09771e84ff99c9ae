"""Categories of a dataset, compared with kwcoco."""

from __future__ import annotations

import pickle
from typing import Any

import kwcoco
import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subregion.errors import RecordError, UnknownCategoryError
from subregion.sampling.annotations.categories import Categories

NAMES = ["background", "star", "ball", "cat", "dog", "animal", "toy"]


@st.composite
def entries(draw: Any) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
    ids = draw(st.lists(st.integers(0, 50), unique=True, min_size=len(names), max_size=len(names)))
    found: list[dict[str, Any]] = [{"id": one, "name": name} for one, name in zip(ids, names, strict=True)]
    for place, entry in enumerate(found):
        # Those in front of it, or those that are no categories themselves, so that there is no circle.
        above = draw(st.sampled_from([None, *names[:place], "vector", "raster"]))
        if above is not None:
            entry["supercategory"] = above
    return found


@given(entries())
def test_the_same_as_kwcoco(found: list[dict[str, Any]]) -> None:
    theirs = kwcoco.CocoDataset({"categories": found, "images": [], "annotations": []}).object_categories()
    ours = Categories.of(found)
    assert list(ours) == list(theirs)
    assert len(ours) == len(theirs)
    for name in ("id_to_idx", "idx_to_id", "node_to_id", "id_to_node", "idx_to_node", "node_to_idx"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.is_mutex() == theirs.is_mutex()
    assert set(ours.graph.edges) == set(theirs.graph.edges)
    assert list(ours.graph.nodes) == list(theirs.graph.nodes)
    for place, name in enumerate(theirs):
        assert ours[place] == name
        assert ours.index(name) == theirs.index(name)
        assert set(ours.descendants(name)) == networkx.descendants(theirs.graph, name)
        assert set(ours.ancestors(name)) == networkx.ancestors(theirs.graph, name)
        assert ours.name_of(ours.id_of(name)) == name
    assert ours.category_ids == tuple(sorted(entry["id"] for entry in found))
    assert Categories.of(ours.to_coco()) == ours == pickle.loads(pickle.dumps(ours))
    assert set(Categories.coerce(theirs).graph.edges) == set(theirs.graph.edges)
    assert Categories.coerce(theirs).node_to_id == theirs.node_to_id


@pytest.mark.parametrize("given_as", [3, ["a", "background", "b"], ["a"], []])
def test_coerced_as_by_kwcoco(given_as: Any) -> None:
    assert Categories.coerce(given_as).node_to_id == kwcoco.CategoryTree.coerce(given_as).node_to_id


def test_the_background() -> None:
    assert Categories.coerce(["a", "background"]).background_id == 0
    assert Categories.of([{"id": 4, "name": "background"}]).background_id == 4
    assert Categories.of(None).background_id == 0


def test_a_category_may_name_itself_as_supercategory() -> None:
    assert Categories.of([{"id": 1, "name": "person", "supercategory": "person"}]).is_mutex()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "the id 1 is given twice"),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "the name 'a' is given twice"),
        ([{"id": 1}], r"categories\[0\].name=None"),
        ([{"id": "1", "name": "a"}], r"categories\[0\].id='1'"),
        ([{"id": 1, "name": "a", "supercategory": 5}], "supercategory=5"),
        (
            [{"id": 1, "name": "a", "supercategory": "b"}, {"id": 2, "name": "b", "supercategory": "a"}],
            "stands above itself",
        ),
        ([5], r"categories\[0\]=5 must be an object"),
        ("abc", "must be a list"),
        ({"id": 5}, "must be a list"),
    ],
)
def test_what_has_no_meaning_is_an_error(found: Any, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        Categories.of(found)


def test_unknown_categories() -> None:
    categories = Categories.coerce(["a", "b"])
    calls: list[tuple[Any, Any]] = [
        (categories.index, "c"),
        (categories.name_of, 9),
        (categories.id_of, "c"),
        (categories.id_of, [1]),
    ]
    for call, value in calls:
        with pytest.raises(UnknownCategoryError, match="there is: "):
            call(value)
    assert "c" not in categories
    unhashable: Any = []
    assert unhashable not in categories
