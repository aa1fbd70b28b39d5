"""What a client makes of a reply that no daemon of ours sends."""

import pytest

from natd.ipc.errors import RequestError
from natd.ipc.frames import decode_reply, outcome


@pytest.mark.parametrize("error", ["5", '"no"', "[]", "true"])
def test_an_error_that_is_no_object_is_told_as_one_of_the_protocol(error: str) -> None:
    with pytest.raises(RequestError) as caught:
        outcome(decode_reply(b'{"v":1,"id":2,"error":%s}' % error.encode()))
    assert caught.value.code == "protocol"
