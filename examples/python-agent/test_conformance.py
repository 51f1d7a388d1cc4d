"""The vectors of docs/conformance, which are independent of language."""

from __future__ import annotations

import functools
import json
import unittest
from pathlib import Path
from typing import Any

from fold import Fold, reduce
from tidings import reaction

VECTORS = Path(__file__).parent / "../../docs/conformance"


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())["vectors"]
    return found


class TestConformance(unittest.TestCase):
    maxDiff = None
    ran = 0

    @classmethod
    def tearDownClass(cls) -> None:
        print(f"{cls.ran} conformance vectors")

    def count(self) -> None:
        type(self).ran += 1

    def same(self, state: dict[str, Any], expected: dict[str, Any]) -> None:
        for known, wanted in zip(state["outputs"], expected["outputs"], strict=True):
            # It may be kept from further back than the server does.
            text = known["text"].encode()[wanted["start"] - known["start"]:].decode()
            known.update(start=wanted["start"], text=text)
        self.assertEqual(state, expected)

    def test_events_are_reduced_to_a_snapshot(self) -> None:
        for vector in vectors("reduce"):
            with self.subTest(vector["name"]):
                state = functools.reduce(reduce, vector["events"], vector["start"])
                self.same(state, vector["snapshot"])
                self.count()

    def test_messages_are_folded_into_a_state(self) -> None:
        for vector in vectors("fold"):
            with self.subTest(vector["name"]):
                fold = Fold()
                for message in vector["messages"]:
                    fold.message(message)
                assert fold.state is not None
                self.same(fold.state, vector["state"])
                self.count()

    def test_a_close_is_followed_by_what_the_table_says(self) -> None:
        for vector in vectors("close"):
            with self.subTest(vector["name"]):
                then, after_ms = reaction(vector["going_away"], vector["code"])
                self.assertEqual((then, after_ms), (vector["then"], vector["after_ms"]))
                self.count()


if __name__ == "__main__":
    unittest.main()
