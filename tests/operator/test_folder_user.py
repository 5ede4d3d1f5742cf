"""Commands that write to the storage folder run as its owner, or not at all."""

import os
from pathlib import Path

import pytest

from mssante_operator import runtime
from mssante_operator.folder_user import check_user
from mssante_operator.settings import SettingsError, load
from tests.support import needs
from tests.support.daemon import lay_out

_WHY = needs.root("a folder is given away")
AS_ROOT = pytest.mark.skipif(bool(_WHY), reason=_WHY)


@AS_ROOT
def test_root_is_told_to_be_the_daemons_user(tmp_path: Path) -> None:
    settings = load(lay_out(tmp_path, "a").config)
    folder = runtime.storage_folder(settings)
    check_user(settings)
    os.chown(folder, 12345, -1)
    with pytest.raises(SettingsError, match=r"sudo -u '#12345' mssante") as refused:
        check_user(settings)
    assert str(folder) in str(refused.value)


def test_the_owner_may(tmp_path: Path) -> None:
    settings = load(lay_out(tmp_path, "a").config)
    assert runtime.storage_folder(settings).stat().st_uid == os.geteuid()
    check_user(settings)
