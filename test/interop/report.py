"""One line per check, then `N passed, N failed`; exits non-zero when a check failed."""

import contextlib
import sys
import traceback


class Report:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    @contextlib.contextmanager
    def check(self, name):
        try:
            yield
        except Exception as error:  # every failure is counted and shown, the rest still runs
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {str(error)[:4000]}", flush=True)
            traceback.print_exc()
        else:
            self.passed += 1
            print(f"ok   {name}", flush=True)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)
