"""What is learned from and what is foretold; what files may say and what they may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasoning_pipeline.errors import DataError
from reasoning_pipeline.workflows.recommendation import reading
from reasoning_pipeline.workflows.recommendation.histories import Histories, History, Insertion
from tests.bench import write_files
from tests.workflows.recommendation.small import catalogue, histories


def test_the_last_two_items_are_targets_and_nothing_else_knows_them():
    (user,) = histories((0, 20, 1, 21, 2)).users
    assert user.learned == (0, 20, 1)
    assert user.case("valid") == ((0, 20, 1), 21)
    assert user.case("test") == ((0, 20, 1, 21), 2)


def test_a_held_out_user_is_not_learned_from():
    (user,) = histories((0, 20, 1), split="test").users
    assert (user.learned, user.case("valid"), user.case("test")) == ((), None, ((0, 20), 1))


def test_what_is_inserted_stands_in_training_alone_and_real_items_keep_their_order():
    entries = (Insertion(after=1, item=30), Insertion(after=1, item=31), Insertion(after=3, item=32))
    user = History(user="u", items=(0, 20, 1, 21, 2), split="leave_one_out", inserted=entries)
    assert user.training == (0, 30, 31, 20, 1, 32)
    assert [item for item in user.training if item < 30] == list(user.learned)
    assert user.case("test") == ((0, 20, 1, 21), 2)


def test_popularity_counts_only_what_may_be_learned_from():
    found = histories((0, 20, 1, 21, 2), (0, 1, 2))
    assert found.counts_N[[0, 20, 1, 21, 2]].tolist() == [2, 1, 1, 0, 0]


def test_histories_survive_the_disk(tmp_path: Path):
    found = histories((0, 20, 1, 21, 2))
    found = found.with_users(
        [History(user="u", items=(0, 1, 2), split="train", inserted=(Insertion(after=0, item=5),))]
    )
    found.save(tmp_path)
    assert Histories.load(tmp_path) == found


# Files


def titled(folder: Path, overlap: str, items: list[dict] | None = None) -> dict[str, str]:
    rows = [vars(item) for item in catalogue()] if items is None else items
    write_files(folder, {"items.jsonl": "".join(json.dumps(row) + "\n" for row in rows), "overlap.txt": overlap})
    return {"items": str(folder / "items.jsonl"), "overlap": str(folder / "overlap.txt")}


def read(files: dict[str, str], **cores: int) -> Histories:
    found = reading.read_titled(files, split="leave_one_out", single_domain=False)
    return reading.finished(found, **{"user_core": 0, "item_core": 0, **cores})


def test_titled_items_and_id_lists(tmp_path: Path):
    found = read(titled(tmp_path, "7\tA0,B1,A2,B3\n"))
    assert found.users == (History(user="overlap/7", items=(0, 21, 2, 23), split="leave_one_out"),)
    assert found.domains == ("A", "B") and len(found.items) == 40


def test_a_user_with_one_event_is_set_aside_and_counted(tmp_path: Path):
    files = titled(tmp_path, "1\tA0\n2\tA0,B1,A2\n")
    found = reading.read_titled(files, split="leave_one_out", single_domain=False)
    assert dict(found.set_aside) == {"users with one event, which foretells nothing": 1}
    assert [user for user, _, _ in found.users] == ["overlap/2"]


def test_an_item_without_a_title_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"items\.jsonl:2: the item x has no title"):
        read(
            titled(
                tmp_path, "", [{"id": "a", "domain": "A", "title": "soup"}, {"id": "x", "domain": "A", "title": " "}]
            )
        )


def test_an_unknown_item_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"overlap\.txt:2: the user overlap/2 took the item 'A99'"):
        read(titled(tmp_path, "1\tA0,B1,A2\n2\tA0,A99\n"))


def test_a_domain_with_five_items_is_refused(tmp_path: Path):
    few = [vars(item) for item in catalogue() if item.domain == "A" or int(item.id[1:]) < 5]
    with pytest.raises(DataError, match=r"the domain B has 5 items; at least 20 are needed"):
        read(titled(tmp_path, "1\tA0,B1,A2\n", few))


@pytest.mark.parametrize("line", ["no tab", "{", "1\t"])
def test_a_line_that_is_no_history_is_refused_with_its_place(tmp_path: Path, line: str):
    with pytest.raises(DataError, match=r"overlap\.txt:1:"):
        read(titled(tmp_path, line + "\n"))


def test_a_damaged_catalogue_is_refused_with_its_place(tmp_path: Path):
    files = titled(tmp_path, "")
    for text, said in (("{", "not valid JSON"), ("[1]", "expected an object"), ("[" * 100_000, "not valid JSON")):
        Path(files["items"]).write_text(text + "\n")
        with pytest.raises(DataError, match=rf"items\.jsonl:1: {said}"):
            read(files)


def test_core_filters_drop_until_nothing_is_left_to_drop(tmp_path: Path):
    # B9 is taken once: without it the third user has one event and goes, then A5 is taken once less and goes, too.
    all_but_two = ",".join(item.id for item in catalogue() if item.id not in ("A5", "B9"))
    files = titled(tmp_path, f"1\t{all_but_two}\n2\t{all_but_two}\n3\tA5,B9\n4\tA5,A0\n")
    found = reading.read_titled(files, split="leave_one_out", single_domain=False)
    with pytest.raises(DataError, match="the domain A has 19 items"):
        reading.finished(found, user_core=2, item_core=2)


def timed(folder: Path, rows: list[dict]) -> dict[str, str]:
    write_files(folder, {"histories.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    return titled(folder, "") | {"histories": str(folder / "histories.jsonl")}


def test_times_order_events(tmp_path: Path):
    rows = [{"user": 7, "split": "test", "events": [["B1", "B", 30], ["A0", "A", 10], ["gone", "A", 20]]}]
    found = reading.read_timed(timed(tmp_path, rows), split="held_out")
    assert found.users == [("7", ["A0", "B1"], "test")] and found.set_aside["events of items without a title"] == 1


@pytest.mark.parametrize(
    ("user", "events", "said"),
    [
        ("u", [["x", "A", "soon"]], r"histories\.jsonl:1: the time of 'x' is 'soon'"),
        ("u", [["x", "A", None]], "the time of 'x' is None"),
        ("u", [["x", "A", float("nan")]], "the time of 'x' is nan"),
        (None, [["x", "A", 1]], r"histories\.jsonl:1: events of nobody"),
        ("", [["x", "A", 1]], "events of nobody"),
    ],
)
def test_events_without_a_time_or_a_user_are_named(user: object, events: list, said: str, tmp_path: Path):
    files = timed(tmp_path, [{"user": user, "events": events, "split": "train"}])
    with pytest.raises(DataError, match=said):
        reading.read_timed(files, split="held_out")


@pytest.mark.parametrize("item", [{}, {"id": None}, {"id": ""}])
def test_an_item_without_an_id_is_named(item: dict, tmp_path: Path):
    with pytest.raises(DataError, match=r"items\.jsonl:1: an item without an id"):
        read(titled(tmp_path, "u\t0,1,2\n", [{**item, "domain": "A", "title": "tea"}]))


def test_recboles_atomic_files_of_two_domains(tmp_path: Path):
    texts = {
        "a.item": "item_id:token\ttitle:token_seq\n" + "".join(f"{n}\tsoup {n}\n" for n in range(20)),
        "b.item": "item_id:token\ttitle:token_seq\n" + "".join(f"{n}\tpan {n}\n" for n in range(20)),
        "a.inter": "user_id:token\titem_id:token\ttimestamp:float\nu\t3\t2\nu\t4\t9\n",
        "b.inter": "user_id:token\titem_id:token\ttimestamp:float\nu\t3\t5\n",
    }
    write_files(tmp_path, texts)
    files = {
        f"{kind}_{domain}": str(tmp_path / f"{domain.lower()}.{kind}") for kind in ("item", "inter") for domain in "AB"
    }
    found = reading.finished(reading.read_recbole(files), user_core=0, item_core=0)
    assert [found.items[item].id for item in found.users[0].items] == ["A/3", "B/3", "A/4"]
    (tmp_path / "b.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu\t3\n")
    with pytest.raises(DataError, match=r"b\.inter:2: 2 columns, the header has 3"):
        reading.read_recbole(files)
