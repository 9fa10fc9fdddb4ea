"""The stories of the demo, before anybody plays them."""

from hourbank.stories import stories


def test_the_stories_make_no_hours():
    assert sum(stories.expected_balances(stories.DEMO).values()) == sum(stories.BALANCES.values())


def test_each_story_can_be_paid_while_all_are_played_at_once():
    for name, balance in stories.BALANCES.items():
        asked = sum(story.hours for story in stories.DEMO if story.requester == name and story.status != "REJECTED")
        assert asked <= balance
