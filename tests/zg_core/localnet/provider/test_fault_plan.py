"""Which faults are set, for how many requests, and for which."""

import pytest

from zg_core.localnet import Fault
from zg_core.localnet.provider.faults import FaultPlan


def test_several_faults_meet_in_one_exchange():
    plan = FaultPlan()
    plan.add("gzip")
    plan.add("body_changed", times=2)
    first, second = plan.take(stream=False), plan.take(stream=False)
    assert Fault.GZIP in first
    assert Fault.BODY_CHANGED in first
    assert Fault.GZIP not in second
    assert Fault.BODY_CHANGED in second
    assert not plan.take(stream=False)


def test_a_fault_can_wait_for_the_request_that_has_a_text():
    plan = FaultPlan()
    plan.add("gzip", containing="call 7,")
    assert not plan.take(stream=False, body=b"call 17")
    assert Fault.GZIP in plan.take(stream=False, body=b"this is call 7, is it?")
    assert not plan.take(stream=False, body=b"call 7,")


def test_mistakes_are_named():
    plan = FaultPlan()
    with pytest.raises(ValueError, match=r"unknown fault 'x'; there are: body_changed"):
        plan.add("x")
    with pytest.raises(ValueError, match="at least 1"):
        plan.add("gzip", times=0)
    with pytest.raises(TypeError, match="slow_drip has no option 'x'; it has: size, delay"):
        plan.add("slow_drip", x=1)
    with pytest.raises(ValueError, match="unknown reason"):
        plan.add("session_rejected", reason="x")
    assert plan.active() == []
