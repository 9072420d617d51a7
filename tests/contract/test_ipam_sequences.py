"""Random sequences of IPAM calls on the product's store: a restart opens the file again."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings

from ipam import LeaseStore
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from tests.unit.ipam.test_any_sequence import AnySequence


class AnySequenceOnSqlite(AnySequence):
    """The same rules and the same model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ovsnet-ipam-"))
        self.database: Database | None = None

    async def open(self) -> LeaseStore:
        self.database = await Database.open(self.folder / "state.db")
        return SqliteLeases(self.database)

    async def shut(self) -> None:
        if self.database is not None:
            await self.database.close()

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


TestAnySequenceOnSqlite = AnySequenceOnSqlite.TestCase
TestAnySequenceOnSqlite.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)
