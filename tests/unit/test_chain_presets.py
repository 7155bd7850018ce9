"""The chains on offer: nothing given twice, and each fit for a configuration as it stands."""

from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from trigpoint.chain.presets import BY_CHAIN_ID, BY_NAME, LOCAL, PRESETS, Preset
from trigpoint_tools.localchain import CHAIN_ID


def test_names_and_chain_ids_are_unique() -> None:
    assert len(BY_NAME) == len(BY_CHAIN_ID) == len(PRESETS) == 7
    assert LOCAL.chain_id == CHAIN_ID


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_fit_for_use(preset: Preset) -> None:
    scheme = urlsplit(preset.rpc_url).scheme
    assert scheme == ("http" if preset is LOCAL else "https")
    assert 0 <= preset.confirmations <= 10_000
    assert preset.poll_s <= preset.block_s * max(1, preset.confirmations)
    # An anchor takes some 100,000 gas; at the highest price allowed, a day's money must still buy one.
    assert Decimal(preset.max_spend_per_day) >= Decimal(preset.max_fee_gwei * 100_000).scaleb(-9)
    url = preset.transaction_url(b"\x01" * 32)
    assert url == "" if preset is LOCAL else url.endswith("/tx/0x" + "01" * 32)
