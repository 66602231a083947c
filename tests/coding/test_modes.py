from coding.modes import MODES, Setting


def test_hard_and_soft_mode_have_one_rate_and_its_number_is_b():
    for name, bits in ("hard", 2), ("soft", 10):
        mode = MODES[name]
        assert mode.is_fixed and mode.bits == bits and list(mode.numbers) == [bits]
        assert {mode.number(quality) for quality in (1, 5, 10)} == {bits}
        assert Setting(mode, bits).t == 0


def test_variable_mode_has_rates_of_equal_distance():
    mode = MODES["variable"]
    assert not mode.is_fixed
    assert [mode.number(quality) for quality in (1, 1.01, 5.5, 10)] == [0, 0, 120, 240]
    assert [Setting(mode, number).t for number in (0, 1, 80, 208)] == [-1.25, -1.25 + 1 / 64, 0, 2]
    assert Setting(mode, 208).step is None


def test_the_finest_qualities_have_one_rate_and_finer_and_finer_detail():
    mode = MODES["variable"]
    assert {Setting(mode, number).t for number in mode.detailed} == {2}
    assert [Setting(mode, number).step for number in (209, 227)] == [16, 8]


def test_in_the_tune_for_the_eye_latents_become_finer_before_there_is_detail():
    settings = [Setting(MODES["variable"], number, "eye") for number in (0, 208, 209, 216, 217, 231, 240)]
    assert [setting.t for setting in settings] == [-1.25, 2, 2 + 1 / 16, 2.5, 2.5, 2.5, 2.5]
    assert [setting.step for setting in settings[:6]] == [None] * 4 + [16, 8]


def test_no_two_modes_have_one_number_or_folder():
    for field in "code", "folder":
        assert len({getattr(mode, field) for mode in MODES.values()}) == len(MODES)
    assert all(name == mode.name for name, mode in MODES.items())
