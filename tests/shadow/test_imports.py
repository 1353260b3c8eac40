import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["api.process", "shadow.process", "cli.shadow"])
def test_the_sdk_of_aws_is_not_loaded_until_shadows_are_kept_there(module: str) -> None:
    code = f"import sys, {module}; print({{'boto3', 'botocore', 'awscrt'}} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
