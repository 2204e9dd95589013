"""Eight processes with one wallet and one store, as plain processes and as Ray's actors."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WORKERS = 8
ASKED = 10
TRANSFERS = 2
MAX_TOKENS = 50
PATIENCE = 60  # times 50 ms
PACED = 2
RATE, BURST = 120, 4


class Worker:
    """One process of the fleet: an agent's model and the wallet's broker, on the shared store.

    Args:
        settings: Of client and broker, with ``limit``: what the fleet may spend, in neuron.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        from langchain_zerog import ChatZeroG
        from zg_core import Broker, Budget, Limits, neuron

        shared = {name: settings[name] for name in ("private_key", "network", "rpc_url", "store")}
        self._provider = settings["provider"]
        self._model = ChatZeroG(
            **shared,
            provider=self._provider,
            verify="require",
            budget=Budget(per_wallet=neuron(settings["limit"])),
            max_tokens=MAX_TOKENS,
        )
        self._paced = ChatZeroG(
            **shared,
            provider=settings["paced"],
            verify="off",
            limits=Limits(per_minute=RATE, burst=BURST, in_flight=100),
            max_tokens=MAX_TOKENS,
        )
        self._broker = Broker(**shared)

    def ready(self) -> int:
        """The process, when everything is loaded."""
        return os.getpid()

    def work(self, number: int) -> dict[str, Any]:
        """Ask and transfer at once, and say what came of it."""
        from langchain_zerog import receipt_of
        from zg_core import BudgetExceeded, og

        spent = threading.Event()

        def ask(which: int) -> str | None:
            """The receipt's id; None if there was no room for the question, even when the others had finished."""
            for _ in range(PATIENCE):
                try:
                    return receipt_of(self._model.invoke(f"Repeat after me: worker {number}, question {which}")).id
                except BudgetExceeded:
                    if spent.wait(0.05):
                        break
            spent.set()
            return None

        def transfer(_: int) -> str:
            return self._broker.transfer(self._provider, og("1")).hash

        with ThreadPoolExecutor(2 + TRANSFERS) as pool:
            transfers = [pool.submit(transfer, n) for n in range(TRANSFERS)]
            answers = list(pool.map(ask, range(ASKED)))
            transactions = [each.result() for each in transfers]
        self._model.close()
        self._broker.close()
        receipts = [each for each in answers if each is not None]
        refused = len(answers) - len(receipts)
        return {"pid": os.getpid(), "receipts": receipts, "refused": refused, "transactions": transactions}

    def keep_pace(self, number: int) -> list[str]:
        """Ask as fast as the limits allow; the receipts' ids."""
        from langchain_zerog import receipt_of

        def ask(which: int) -> str:
            return receipt_of(self._paced.invoke(f"Repeat after me: worker {number}, paced {which}")).id

        with ThreadPoolExecutor(PACED) as pool:
            receipts = list(pool.map(ask, range(PACED)))
        self._paced.close()
        return receipts


def under_ray(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The fleet as Ray's actors."""
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    try:
        actor = ray.remote(Worker)
        workers = [actor.remote(settings) for _ in range(WORKERS)]
        ray.get([worker.ready.remote() for worker in workers])
        done: list[dict[str, Any]] = ray.get([worker.work.remote(n) for n, worker in enumerate(workers)])
        paced = ray.get([worker.keep_pace.remote(n) for n, worker in enumerate(workers)])
        return [{**each, "paced": ids} for each, ids in zip(done, paced, strict=True)]
    finally:
        ray.shutdown()


def _process(number: int, settings: dict[str, Any], barrier: Any, done: Any) -> None:
    try:
        worker = Worker(settings)
        barrier.wait(120)
        did = worker.work(number)
        barrier.wait(120)  # so that nothing else keeps this machine busy
        done.put({**did, "paced": worker.keep_pace(number)})
    except BaseException as error:
        done.put({"error": repr(error)})
        raise


def as_processes(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The fleet as plain processes."""
    context = multiprocessing.get_context("spawn")
    barrier, done = context.Barrier(WORKERS), context.Queue()
    processes = [context.Process(target=_process, args=(n, settings, barrier, done)) for n in range(WORKERS)]
    for process in processes:
        process.start()
    results: list[dict[str, Any]] = []
    while len(results) < WORKERS:
        try:
            results.append(done.get(timeout=1))
        except queue.Empty:
            if any(process.exitcode for process in processes):
                raise RuntimeError(f"processes ended with {[process.exitcode for process in processes]}") from None
    for process in processes:
        process.join()
    return results
