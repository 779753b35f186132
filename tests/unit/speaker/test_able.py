"""From when on a node says that it may own addresses."""

from speaker.able import Ability


def test_a_lost_link_counts_at_once_and_one_that_returned_after_a_while() -> None:
    ability = Ability(5.0)
    assert not ability.told(True, 0.0, others=True), "that was known"
    assert ability.told(False, 1.0, others=True)
    assert not ability.told(False, 2.0, others=True)
    assert not ability.told(True, 3.0, others=True)
    assert not ability.told(True, 7.0, others=True), "it has been there since 3.0"
    assert not ability.look(7.9, others=True)
    assert ability.look(8.0, others=True)
    assert ability.able
    assert not ability.look(99.0, others=True)


def test_only_the_latest_return_counts() -> None:
    ability = Ability(5.0)
    ability.told(False, 0.0, others=True)
    ability.told(True, 1.0, others=True)
    assert not ability.told(False, 2.0, others=True)
    assert not ability.look(9.0, others=False), "the link is gone"
    ability.told(True, 4.0, others=True)
    assert not ability.look(8.9, others=True)
    assert ability.look(9.0, others=True)


def test_where_no_other_may_own_addresses_it_counts_at_once() -> None:
    ability = Ability(5.0)
    ability.told(False, 0.0, others=False)
    assert ability.told(True, 1.0, others=False)
    ability.told(False, 2.0, others=True)
    assert not ability.told(True, 3.0, others=True)
    assert ability.look(3.5, others=False), "the last other is gone"
