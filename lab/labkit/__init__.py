# SPDX-License-Identifier: Apache-2.0
"""Virtual hosts with Soft-RoCE NICs, for the demo, the lab tests and work by hand.

    from labkit import Lab

    with Lab("mytest", hosts=2, qmasq=False) as lab:
        code, out, err = lab.exec("hostA", ["uname", "-r"])
        server = lab.spawn("hostA", ["ibv_rc_pingpong", "-d", "rxe0", "-g", "1"])
        ...
"""

from .errors import LabError
from .lab import Lab
from .remote import Result, Running

__all__ = ["Lab", "LabError", "Result", "Running"]
