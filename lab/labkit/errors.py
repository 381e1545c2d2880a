# SPDX-License-Identifier: Apache-2.0
"""The one exception of the kit."""


class LabError(Exception):
    """Something about the lab went wrong; the text says what and what to do about it."""
