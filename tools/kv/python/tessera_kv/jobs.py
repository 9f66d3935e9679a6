# SPDX-License-Identifier: BSD-2-Clause
"""Caches to and from stores in the background, on threads of libtessera-net."""
import array
import ctypes
import sys
import threading
import traceback
from ctypes import byref, c_size_t, c_void_p

from . import _library as lib
from .codec import numbers, pair
from .stores import settings_of

OK = 0


class Result:
    """What became of a job: attributes as in tsr_kv_job_result, but for error,
    which is "OK" or a name as TesseraError has it."""

    def __init__(self, struct):
        for name, _ in struct._fields_:
            setattr(self, name, getattr(struct, name))
        self.error = lib.ERRORS.get(struct.error, "OK")
        self.message = struct.message.decode(errors="replace")
        self.late = bool(struct.late)


class Job(lib.Handle):
    """A push or a pull that goes on by itself; the view's arrays are kept until
    it ends.  Methods may be called from any thread; close() cancels what is not
    done, and waits for its threads."""

    kind = "job"

    def __init__(self, settings, keep):
        self.settings, self.keep = settings, keep
        self.net, self.handle = lib.net(), c_void_p()
        self.begun = threading.Event()

    def wait(self, seconds=None):
        """Its Result; None if it has not ended after so many seconds."""
        result = lib.JobResult()
        code = self.net.tsr_kv_job_wait(self.opened(),
                                        -1 if seconds is None else seconds,
                                        byref(result))
        if code == lib.LIMIT:
            return None
        check(code)
        return Result(result)

    def recomputed(self, chunk):
        """The cache of a chunk that was asked for is in the view."""
        self.net.tsr_kv_job_recomputed(self.opened(), chunk)

    def cancel(self):
        self.net.tsr_kv_job_cancel(self.opened())

    def free(self):
        self.net.tsr_kv_job_close(byref(self.handle))


    def begin(self, function, *words):
        check(function(byref(self.handle), byref(self.settings), *words))
        self.begun.set()
        return self

    def when_begun(self, function):
        """Calls with the job, which may be known only after its threads work."""
        def call(*words):
            self.begun.wait(10)
            function(self, *words)
        return function and call


def check(code):
    if code:
        raise lib.TesseraError(code, lib.core.tsr_error_string(code).decode())


def called(kind, function):
    """A C function that calls `function`, or NULL.  What it raises is shown, and
    an error where C wants one."""
    if function is None:
        return kind()

    def call(cookie, *words):
        try:
            function(*words)
            return OK
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return lib.INTERNAL
    return kind(call if kind is lib.ARRIVED else
                lambda *words: call(*words) and None)


def stream_settings(url, model, profile, store, options):
    """The C structure and what must live as long as the job."""
    s, log = lib.StreamSettings(), lib.Log()
    lib.net().tsr_kv_stream_settings_init(byref(s))
    s.url, s.model = url.encode(), model.encode()
    s.store = settings_of(log, store or {})
    s.profile = profile.handle if profile else None
    for name, value in options.items():
        setattr(s, name, value.encode() if isinstance(value, str) else value)
    return s, log


def push(url, model, coder, view, token_ids, *, pos0=0, profile=None,
         chunk_tokens=256, connections=4, threads=1, replace=False, store=None,
         on_progress=None):
    """Begins to encode and store a cache, chunk by chunk; returns a Job.

    model     as of Prefix
    coder     a Coder, whose settings are used
    profile   the coder's
    replace   what is there already is sent, too
    store     options as of Store, a dict
    on_progress(bytes, expected)
    """
    s, log = stream_settings(url, model, profile, store, {
        "chunk_tokens": chunk_tokens, "connections": connections,
        "threads": threads, "replace": int(replace)})
    s.events.progress = called(lib.PROGRESS, on_progress)
    what = view.fit(coder.shape)
    ids, at = numbers(token_ids, "i", view.tokens, "token ids")
    job = Job(s, (log, view, what, coder, profile))
    return job.begin(job.net.tsr_kv_push_begin, byref(coder.settings),
                     byref(what), at, pos0)


def shape_of(layers, heads, dim, planes):
    s = lib.Shape(layers, planes)
    for p in range(planes):
        s.heads[p], s.dim[p] = pair(heads)[p], pair(dim)[p]
    return s


def pull(url, model, layers, heads, dim, view, token_ids, *, planes=2,
         profile=None, chunk_tokens=256, connections=4, threads=1, store=None,
         policy="deadline", deadline=0.0, floor=1, ceiling=0, recompute=None,
         cache=None, on_layers=None, on_recompute=None, on_progress=None,
         on_arrival=None):
    """Begins to fetch a cache and to decode it into a view; returns a Job.

    deadline, floor, ceiling, policy   seconds, levels, and how they are chosen:
              docs/kv-store.md
    recompute seconds that computing each chunk would take; then
              on_recompute(job, chunk, first_token, tokens) asks for it, to be
              answered by job.recomputed(chunk), from any thread
    cache     URL of a nearer store
    on_layers(first, layers, levels)   these layers are usable
    on_arrival(chunk, first_token, tokens, object, levels)   takes objects instead
              of the view, which may be None
    Callbacks are called on threads of the job, one at a time.
    """
    options = {"chunk_tokens": chunk_tokens, "connections": connections,
               "threads": threads, "policy": policy, "deadline": deadline,
               "floor": floor, "ceiling": ceiling}
    if cache:
        options["cache"] = cache
    s, log = stream_settings(url, model, profile, store, options)
    s.events.layers = called(lib.LAYERS, on_layers)
    s.events.progress = called(lib.PROGRESS, on_progress)
    s.arrival = called(lib.ARRIVED, on_arrival and (
        lambda a: on_arrival(*arrived(a.contents))))
    n = len(token_ids)
    ids, at = numbers(token_ids, "i", n, "token ids")
    costs = array.array("d", recompute or ())
    if recompute is not None:
        if len(costs) != -(-n // chunk_tokens):
            raise ValueError("%d costs of chunks for %d tokens" % (len(costs), n))
        s.recompute = costs.buffer_info()[0]
    shape, what = shape_of(layers, heads, dim, planes), None
    if view is not None:
        if view.tokens != n:
            raise ValueError("a view of %d tokens for %d" % (view.tokens, n))
        what = view.fit(shape, writable=True)
    job = Job(s, (log, view, what, profile))
    s.events.recompute = called(lib.RECOMPUTE, job.when_begun(on_recompute))
    return job.begin(job.net.tsr_kv_pull_begin, byref(shape),
                     byref(what) if what else None, at, n)


def arrived(a):
    return (a.chunk, a.first_token, a.tokens, ctypes.string_at(a.object, a.size),
            a.levels)


def stored(url, model, token_ids, *, profile=None, chunk_tokens=256, store=None):
    """How many tokens of a text, from the first on, are in a store."""
    s, log = stream_settings(url, model, profile, store,
                             {"chunk_tokens": chunk_tokens})
    ids, at = numbers(token_ids, "i", len(token_ids), "token ids")
    tokens = c_size_t()
    log.check(lib.net().tsr_kv_stored(byref(s), at, len(ids), byref(tokens)))
    return tokens.value
