"""What `wangge evaluate matters` reaches is held here with a margin, on quick samples; figures stand in docs/evaluation.md."""

import csv
from collections import Counter
from dataclasses import replace

import pytest

from core.settings import settings
from hotline.categories import CategoryTree, Node
from hotline.classify import SHIPPED
from hotline.evaluate import matters
from hotline.evaluate.personal import invented
from hotline.kinds import kind_of
from hotline.masking import mask
from hotline.outward.templates import Template, render
from hotline.train import evaluate
from hotline.urgency import alarm

DATA = settings().data
given = pytest.mark.skipif(
    not (DATA / "complaints/labelled_text_dev.csv").is_file(), reason="the given messages are not on this machine"
)


def named(figures, trait):
    return next(one.value for one in figures if one.trait == trait)


@given
def test_the_shipped_model_tells_real_messages_apart_though_it_saw_none():
    assert evaluate(SHIPPED, DATA / "complaints/labelled_text_dev.csv").macro_f1 > 0.8


@given
def test_an_eighth_of_the_training_file_is_enough_for_most_messages():
    found = list(matters.level1(DATA, quick=True))
    assert named(found, "level 1, macro-F1") > 0.85
    assert named(found, "level 1 among the first three") > 0.98


@given
def test_kind_and_urgency_hold_on_messages_that_were_not_looked_at():
    found = list(matters.labelled(DATA))
    assert named(found, "kind") > 0.78
    assert named(found, "kind, or the second one that fits as well") > 0.83
    assert named(found, "urgency") > 0.88
    assert named(found, "urgent ones raised") > 0.65
    assert named(found, "danger to life heard") == 1.0


@given
def test_a_second_level_that_is_given_is_mostly_right():
    tree = matters.given_tree(DATA)
    assert named(matters.second_level(DATA, tree), "the second level given is right") > 0.68


def test_kind_and_urgency_of_invented_callers_are_told():
    found = list(matters.generated(400))
    assert named(found, "kind") > 0.97
    assert named(found, "urgency") > 0.97


def test_personal_numbers_in_invented_texts_are_blotted_and_nothing_else():
    found = list(matters.numbers(DATA / "absent", quick=True))
    assert named(found, "personal numbers blotted whole") > 0.99
    assert named(found, "texts in which nothing else is blotted") > 0.99
    kinds = Counter(said.kind for said in invented(300))
    assert set(kinds) == {"", "mobile", "landline", "identity", "card", "plate", "account", "mail"}


def test_labels_hold_ids_and_words_of_the_trade_only():
    with matters.LABELS.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len({row["id"] for row in rows}) == len(rows) > 300
    assert {row["kind"] for row in rows} == {"", "complaint", "help", "enquiry", "suggestion", "praise"}
    assert {row["urgency"] for row in rows} == {"emergency", "utilities", "ordinary"}
    held, built = matters.labels(), matters.labels(held_back=False)
    assert not {row["id"] for row in held} & {row["id"] for row in built}
    assert matters.LABELS.read_text(encoding="utf-8").isascii()
    assert matters.DEEPER.read_text(encoding="utf-8").isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("身份证前六位440605，后面是199001011234", "身份证前六位******，后面是************"),
        ("加我微信：lao_wang88", "加我微信：**********"),
        ("QQ号12345678", "QQ号********"),
        ("打我幺三八零零零零一二三四", "打我***********"),
        ("银行卡号622202 0000000000", "银行卡号*****************"),
    ],
)
def test_numbers_told_in_pieces_in_words_or_as_accounts_are_blotted(text, shown):
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "联系人：2021-7-22已核实",
        "工单编号2018021005525没人理",
        "QQ群里9025人都在说",
        "微信支付12345元",
        "电话打了12次，等了30分钟",
    ],
)
def test_dates_tickets_and_sums_beside_such_words_stay(text):
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("A小区物业乱收费。" + "我们找了很多次，每次都说再等等。" * 5 + "请问还有人管吗？", "complaint"),
        ("领导您好！提个建议：公交站加个雨棚。", "suggestion"),
        ("来电人反映，楼上漏水没人修。请求协助处理。", "help"),
        ("感谢领导，拖欠的工资已经得到解决，谢谢。", "praise"),
    ],
)
def test_what_is_said_first_decides_the_kind(text, kind):
    assert kind_of(text) == kind


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("我们小区经常停水。物业说不清楚。", "utilities"),
        ("停水了怎么收费这么贵。" + "物业管理混乱。" * 40 + "以前多次停水", "utilities"),
        ("物业管理混乱。" * 30 + "另外经常停水。", "ordinary"),
        ("水位已经涨到160公分，几户人家出不来", "emergency"),
        ("积水很深需要船来救援", "emergency"),
    ],
)
def test_a_cut_that_a_message_is_about_cannot_wait_however_often_it_comes(text, level):
    assert alarm(text).level == level


def test_words_of_confirmed_cases_name_a_code_whose_name_the_text_lacks():
    tree = CategoryTree([Node("1", "市容"), Node("11", "垃圾清运", "1"), Node("12", "占道经营", "1")])
    lessons = [("桶满了苍蝇很多，餐厨臭气熏天", "11"), ("烧烤摊贩堵住人行道", "12")] * 6
    text = "餐厨臭气熏天，苍蝇很多"
    assert tree.place("市容", text, probability=1.0).code == "1"
    taught = tree.taught(tree.learn(lessons))
    assert taught.place("市容", text, probability=1.0).code == "11"
    assert taught.place("市容", "路灯坏了", probability=1.0).code == "1"
    assert tree.learn(lessons[:6]) == {}


def test_an_answer_that_goes_where_everybody_reads_it_is_blotted():
    said = Template("citizen.reply", "weibo", text="编号{number}已由{unit}答复：{answer}")
    values = {"number": "20261118000123X", "unit": "水务局", "answer": "已联系李女士13800001234，水管已修好"}
    assert render(said, values).text == "编号20261118000123X已由水务局答复：已联系李女士***********，水管已修好"
    own = replace(said, channel="sms")
    assert "13800001234" in render(own, values).text
