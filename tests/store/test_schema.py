import pyarrow as pa
import pytest

from netpick.store.schema import TABLES, columns
from netpick.store.shards import arrow_schema


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_type_of_ours_and_a_sentence(table):
    for column in TABLES[table]:
        assert column.meaning.endswith(".")
        assert len(column.meaning) > 10
    assert len({c.name for c in TABLES[table]}) == len(TABLES[table])
    schema = arrow_schema(table, 3)
    assert schema.names == [c.name for c in columns(table, 3)]


def test_columns_of_classes_are_written_out():
    assert [c.name for c in columns("predictions", 2)][-2:] == ["score_0", "score_1"]
    assert [c.name for c in columns("epochs", 2)][-4:] == ["accuracy_0", "accuracy_1", "auc_0", "auc_1"]
    assert not [c for c in columns("epochs") if "{" in c.name]


def test_keys_have_the_same_type_in_all_tables():
    kinds: dict[str, set[str]] = {}
    for table in ("trainings", "epochs", "predictions", "samples"):
        for column in columns(table, 2):
            if column.name in ("network", "replicate", "epoch", "sample", "label"):
                kinds.setdefault(column.name, set()).add(column.type)
    assert all(len(types) == 1 for types in kinds.values()), kinds


def test_arrow_types_are_the_declared_ones():
    schema = arrow_schema("predictions", 1)
    assert schema.field("score_0").type == pa.float32()
    assert pa.types.is_dictionary(schema.field("network").type)
    assert schema.field("label").type == pa.int16()
    assert arrow_schema("trainings").field("started").type == pa.timestamp("us", tz="UTC")
