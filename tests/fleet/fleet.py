"""Eight processes with one wallet and one store, as plain processes and as Ray's actors."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.patience import PATIENCE

WORKERS = 8
ASKED = 10
TRANSFERS = 2
MAX_TOKENS = 50
PACED = 2
RATE, BURST = 120, 4


class Worker:
    """One process of the fleet: an agent's model and the wallet's broker, on the shared store.

    Args:
        settings: Of client and broker, with ``limit``: what the fleet may spend, and ``most``: what one question
            may cost, in neuron.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        from langchain_zerog import ChatZeroG
        from zg_core import Broker, Budget, Limits, Store, Wallet, neuron
        from zg_core.budget import Spending

        shared = {name: settings[name] for name in ("private_key", "network", "rpc_url", "store")}
        self._provider = settings["provider"]
        budget = Budget(per_wallet=neuron(settings["limit"]))
        self._model = ChatZeroG(
            **shared, provider=self._provider, verify="require", budget=budget, max_tokens=MAX_TOKENS
        )
        self._most: int = settings["most"]
        self._wallet = Wallet.from_key(settings["private_key"]).address
        self._spending = Spending(budget, Store.open(settings["store"]), settings["chain_id"])
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

        def ask(which: int) -> str | None:
            """The receipt's id; None if there was no room for the question, even when the others had finished."""
            while True:
                try:
                    return receipt_of(self._model.invoke(f"Repeat after me: worker {number}, question {which}")).id
                except BudgetExceeded:
                    if self._is_spent():
                        return None
                    time.sleep(0.02)  # other processes: nothing tells us

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

    def _is_spent(self) -> bool:
        """Whether there is no room for a question, and none to come: nothing is held that might be given back."""
        left = self._left()
        return left < self._most and not self._spending.held() and left == self._left()

    def _left(self) -> int:
        return self._spending.left(self._wallet, self._provider)["per_wallet"].units

    def keep_pace(self, number: int) -> tuple[float, list[str]]:
        """Ask as fast as the limits allow; when that began, and the receipts' ids."""
        from langchain_zerog import receipt_of

        began = time.time()

        def ask(which: int) -> str:
            return receipt_of(self._paced.invoke(f"Repeat after me: worker {number}, paced {which}")).id

        with ThreadPoolExecutor(PACED) as pool:
            receipts = list(pool.map(ask, range(PACED)))
        self._paced.close()
        return began, receipts


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
        return [{**each, "began": began, "paced": ids} for each, (began, ids) in zip(done, paced, strict=True)]
    finally:
        ray.shutdown()


def _process(number: int, settings: dict[str, Any], barrier: Any, done: Any) -> None:
    try:
        worker = Worker(settings)
        barrier.wait(PATIENCE)
        did = worker.work(number)
        barrier.wait(PATIENCE)  # so that nothing else keeps this machine busy
        began, receipts = worker.keep_pace(number)
        done.put({**did, "began": began, "paced": receipts})
    except BaseException as error:
        done.put({"error": repr(error)})
        raise


def as_processes(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The fleet as plain processes, which part from this one when all is loaded and nothing is open."""
    for name in ("langchain_zerog.chat_models", "zg_core.client", "sqlalchemy.dialects.postgresql", "psycopg"):
        importlib.import_module(name)
    context = multiprocessing.get_context("fork")
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
