"""The ocpp package on both ends: it takes the view's socket as it is."""

import asyncio

import pytest
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


class Station(ChargePoint):
    """A charging station."""

    @on("Reset")
    def on_reset(self, type, **kwargs):
        return call_result.Reset(status="Accepted")


async def test_central_system(server):
    """A central system and a station call each other."""
    async with connect(
        server.url("/ocpp/station-1/"), subprotocols=["ocpp1.6"], proxy=None
    ) as websocket:
        assert websocket.subprotocol == "ocpp1.6"
        station = Station("station-1", websocket)
        running = asyncio.ensure_future(station.start())
        boot = call.BootNotification(
            charge_point_model="model", charge_point_vendor="vendor"
        )
        booted = await asyncio.wait_for(station.call(boot), 10)
        assert (booted.status, booted.interval) == ("Accepted", 10)
        await asyncio.to_thread(server.wait_for_log, "RESET Accepted")
        await websocket.close()
        with pytest.raises(ConnectionClosed):
            await running
    await asyncio.to_thread(server.wait_for_log, "DISCONNECT /ocpp/station-1/")
    assert "Traceback" not in server.log.split("RESET Accepted")[1]
