"""Other people's programs: lm-evaluation-harness (the extra `harness`)."""

from isodiff.errors import InputError

try:
    import lm_eval  # noqa: F401
except ImportError as error:
    raise InputError(
        f"lm-evaluation-harness is not installed ({error}); pip install 'isodiff[harness]'"
    ) from None
