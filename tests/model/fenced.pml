/*
 * Ownership and replication of one session in the mode `fenced`, for spin. README.md says what is modelled, what is left out and why
 * that is sound; each rule below names the part of the protocol that it stands for. One step of a node is one d_step: what a core
 * does with one input, persisted before anybody can see it.
 *
 * Parts, by -D (run.sh knows which go together):
 *   SET      a fourth node takes the place of copy 2      TOMB    a delete, wall clocks, and tombstones that are dropped
 *   WITNESS  copy 2 keeps no attributes                   CREATE  nobody has the session yet, everybody may create it
 *   RESIGN   owners resign                                FIVE    five copies
 * Bounds: NUMS (epoch counters 1..NUMS), CRASHES, WRITES (1 or 2). Mutations: the words that begin with NO_ or BUG_.
 */

/* ---- Bounds ---- */
#if defined(SET)
#define N 4
#elif defined(FIVE)
#define N 5
#else
#define N 3
#endif
#ifndef NUMS
#define NUMS 3
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef WRITES
#define WRITES 2
#endif
#define EPOCHS (NUMS * N) /* At most 15: an epoch and a set of writes share a byte. */

/* ---- Words ---- */
/* Epochs in their order: counter, then node. 0: none. */
#define EPOCH(num, n) (((num) - 1) * N + (n) + 1)
#define COUNTER(e) (((e) + N - 1) / N)
#define NODE(e) (((e) + N - 1) % N)
#define BIT(n) (1 << (n))

/* A record is epoch and contents; contents are the set of writes that went into it, so that "is lost" can be said. Each write takes
 * the version up by one; within an epoch the sets grow, so records compare as numbers, as (epoch, version) does. */
#define RECORD(e, set) ((e) << 4 | (set))
#define RE(n) (rec[n] >> 4)
#define RS(n) (rec[n] & 15)
#define W0 1
#if defined(SET)
#define JOINT 2 /* the write that sets next_copy_set */
#define FINAL 4 /* the write that makes it the copy_set */
#define UNDO 8  /* the write that takes it back, by an owner that is not in it */
#define CLIENT W0
#define CONTENTS 16
#elif defined(TOMB)
#define DELETE 2
#define CLIENT (W0 | DELETE)
#define CONTENTS 4
#else
#define W1 2
#define CLIENT (W0 | W1)
#define CONTENTS 4
#endif

#if defined(SET)
#define OLD_COPIES 7
#define NEW_COPIES 11
#define COPIES(set) (((set) & FINAL) -> NEW_COPIES : OLD_COPIES)
#elif defined(FIVE)
#define COPIES(set) 31
#else
#define COPIES(set) 7
#endif

/* Majority of N copies, and N - majority + 1, are the same number for odd N. */
#define TWO(x) ((x) & ((x) - 1))
#if defined(FIVE)
#define MAJORITY(x) (TWO(x) & (TWO(x) - 1))
#else
#define MAJORITY(x) TWO(x)
#endif
#ifdef BUG_ACK_ONE_SHORT
#define ENOUGH(x) (x)
#else
#define ENOUGH(x) MAJORITY(x)
#endif
/* While the copies change, whatever needs the copies needs both sets of them: promises, leases, acknowledgements. */
#ifdef SET
#define CHANGING(set) (((set) & (JOINT | FINAL | UNDO)) == JOINT)
#define IN_BOTH(count, who, set) (count((who) & COPIES(set)) && (!CHANGING(set) || count((who) & NEW_COPIES)))
#define MEMBER(n, set) (COPIES(set) & BIT(n) || (CHANGING(set) && (NEW_COPIES & BIT(n))))
#else
#define IN_BOTH(count, who, set) count((who) & COPIES(set))
#define MEMBER(n, set) (COPIES(set) & BIT(n))
#endif
#ifdef BUG_CHANGING_NOT_PROMISED
#define PROMISED_BY(who, set) MAJORITY((who) & COPIES(set))
#else
#define PROMISED_BY(who, set) IN_BOTH(MAJORITY, who, set)
#endif
#ifdef BUG_CHANGING_NOT_LEASED
#define LEASED_BY(who, set) MAJORITY((who) & COPIES(set))
#else
#define LEASED_BY(who, set) IN_BOTH(MAJORITY, who, set)
#endif
#ifdef BUG_CHANGING_NOT_ACKNOWLEDGED
#define HELD_BY(who, set) ENOUGH((who) & COPIES(set))
#else
#define HELD_BY(who, set) IN_BOTH(ENOUGH, who, set)
#endif

/* ---- State ---- */
/* Persisted. */
#if defined(CREATE)
byte rec[N];  /* the record */
byte prom[N]; /* the highest epoch promised */
byte own;     /* nodes that believe that they own the session; lost by a crash, as what follows below */
#else
#if defined(SET)
byte rec[N] = {16, 16, 16, 0};
byte prom[N] = {1, 1, 1, 0};
#else
byte rec[N] = 16;
byte prom[N] = 1;
#endif
byte own = 1;
#endif
#ifdef SET
byte stub;    /* nodes that dropped the attributes of the record and kept its head */
#endif
/* Lost by a crash. */
byte cand;    /* nodes that ask for promises to the epoch prom[n] */
byte gath[N]; /* candidate: who promised */
byte best[N]; /* candidate: the newest record that they showed */
byte ack[N];  /* owner: who persisted its newest record */
byte lease[N]; /* owner: granters whose lease it counts on: not lapsed by its own clock, in a term in which the key was validated */
byte val[N];  /* owner: granters that have gone on to a higher epoch in the term in which they had validated */
/* In flight: whatever was sent may arrive at any time, in any order, many times or never. */
short sent[EPOCHS + 1]; /* by epoch, the contents that its owner sent, as a set of sets */
short asked;            /* epochs that promises were asked for */
#ifdef RESIGN
short resigned;         /* epochs resigned: what the owner persisted, and its message */
bit resigns;
#endif
#ifdef TOMB
byte clk[N];            /* wall clock: 0 before the session's deadline, 1 at it, 2 past it by the clock bound */
#endif
#ifdef SET
bit surplus;            /* an owner has said that copy 2 may drop the session */
#endif
#ifdef NO_BOOT_WAIT
byte forgot;            /* granters that have forgotten their grants */
#endif
#ifdef BUG_UNSYNCED
byte prev[N];           /* what is on the disk when the last record was only in memory */
#endif
/* What the client knows, and budgets. */
byte acked;  /* writes that were acknowledged, or seen by an acknowledged read */
byte issued;
byte crashes;

/* ---- Rules ---- */
#ifdef TOMB
#define EXPIRED(n) (clk[n] > 0)
#define DELETED(set) ((set) & DELETE)
#else
#define EXPIRED(n) false
#define DELETED(set) false
#endif
#ifdef WITNESS
#define HAS_ATTRIBUTES(n) ((n) != 2)
#elif defined(SET)
#define HAS_ATTRIBUTES(n) (!(stub & BIT(n)))
#else
#define HAS_ATTRIBUTES(n) true
#endif

/* A write, check 1: owner, and leases of a majority of the copies, itself included. */
#ifdef NO_LEASE_CHECK
#define SERVES(n) ((own & BIT(n)) && !EXPIRED(n))
#else
#define SERVES(n) ((own & BIT(n)) && !EXPIRED(n) && LEASED_BY(lease[n] | BIT(n), RS(n)))
#endif

/* Leases: the one that g granted to the owner of the epoch that it promised to has lapsed by g's clock. A holder's lease always
 * lapses before the granter's (lease.pml); g itself may have forgotten it, and then waits as long as it could have lasted. */
#ifdef NO_LAPSE_WAIT
#define LAPSED(g) true
#elif defined(NO_BOOT_WAIT)
#define LAPSED(g) ((forgot & BIT(g)) || !prom[g] || !(lease[NODE(prom[g])] & BIT(g)))
#elif defined(RESIGN)
#define LAPSED(g) ((resigned & BIT(prom[g])) || !(lease[NODE(prom[g])] & BIT(g)))
#else
#define LAPSED(g) (!prom[g] || !(lease[NODE(prom[g])] & BIT(g)))
#endif
#ifdef BUG_OWNER_PROMISES
#define MAY_PROMISE(g) LAPSED(g)
#else
#define MAY_PROMISE(g) (!(own & BIT(g)) && LAPSED(g))
#endif

inline stop_owning(n) {
  own = own & ~BIT(n);
  ack[n] = 0;
  lease[n] = 0;
  val[n] = 0;
}

inline stop_asking(n) {
  cand = cand & ~BIT(n);
  gath[n] = 0;
  best[n] = 0;
}

/* g has learned of a higher epoch from its owner. Who had g's lease keeps it and its term: a majority has promised him away. */
inline learn(g, e) {
  if
  :: prom[g] < e ->
    if
    :: prom[g] && NODE(prom[g]) != g && (own & BIT(NODE(prom[g]))) && RE(NODE(prom[g])) == prom[g] ->
      val[NODE(prom[g])] = val[NODE(prom[g])] | BIT(g)
    :: else
    fi;
    prom[g] = e;
    stop_asking(g);
    stop_owning(g)
  :: else
  fi
}

/* Takeover, 1 and 2; leases: whoever promises a key away starts a new term for its holder. */
inline promise_away(g, e) {
  if
  :: prom[g] ->
#ifdef NO_NEW_TERM
    if
    :: NODE(prom[g]) != g && (own & BIT(NODE(prom[g]))) && RE(NODE(prom[g])) == prom[g] ->
      val[NODE(prom[g])] = val[NODE(prom[g])] | BIT(g)
    :: else
    fi
#else
    val[NODE(prom[g])] = val[NODE(prom[g])] & ~BIT(g)
#endif
  :: else
  fi;
  prom[g] = e;
  stop_asking(g)
}

/* A write, 4: enough copies have it. Told to the client at once: later would promise less. */
inline acknowledge(n) {
  if
  :: HELD_BY(ack[n], RS(n)) -> acked = acked | (RS(n) & CLIENT)
  :: else
  fi
}

inline write(n, bits) {
#ifdef BUG_UNSYNCED
  prev[n] = rec[n];
#endif
  rec[n] = rec[n] | (bits);
  ack[n] = BIT(n);
  sent[RE(n)] = sent[RE(n)] | BIT(RS(n));
  acknowledge(n)
}

/* T = NODE(e) hears that g has the contents `set` of its epoch. */
inline hear_ack(g, e, set) {
  if
  :: (own & BIT(NODE(e))) && RE(NODE(e)) == e && RS(NODE(e)) == (set) ->
    ack[NODE(e)] = ack[NODE(e)] | BIT(g);
    acknowledge(NODE(e))
  :: (own & BIT(NODE(e))) && RE(NODE(e)) == e && RS(NODE(e)) != (set) && HELD_BY(BIT(g) | BIT(NODE(e)), set) ->
    acked = acked | ((set) & CLIENT)
  :: else
  fi
}

#ifdef NO_FENCE
#define ACCEPTS(g, e) true
#else
#define ACCEPTS(g, e) (prom[g] <= (e))
#endif

/* A copy, on Replicate. */
inline receive(g, e, set) {
  learn(g, e);
#ifdef BUG_UNSYNCED
  prev[g] = rec[g];
#endif
  rec[g] = RECORD(e, set);
#ifdef SET
  stub = stub & ~BIT(g);
#endif
  hear_ack(g, e, set)
}

/* Takeover, 3. */
/* Somebody who promised has the attributes of the newest record, not only its head. */
#define SHOWN(n, g) ((gath[n] & BIT(g)) && rec[g] == best[n] && HAS_ATTRIBUTES(g))
#if defined(WITNESS)
#define CAN_ADOPT(n) (SHOWN(n, 0) || SHOWN(n, 1))
#elif defined(SET)
#define CAN_ADOPT(n) (SHOWN(n, 0) || SHOWN(n, 1) || SHOWN(n, 2) || SHOWN(n, 3))
#else
#define CAN_ADOPT(n) true
#endif

inline adopt(n) {
#ifdef BUG_UNSYNCED
  prev[n] = rec[n];
#endif
#ifdef BUG_OWN_RECORD
  rec[n] = RECORD(prom[n], RS(n));
#else
  rec[n] = RECORD(prom[n], best[n] & 15);
#endif
  own = own | BIT(n);
  stop_asking(n);
  write(n, 0)
}

#ifdef NO_BINDING_VALIDATION
#define VALIDATED(g, e)
#else
#define VALIDATED(g, e) learn(g, e)
#endif

inline crash(n) {
  crashes++;
  stop_owning(n);
  stop_asking(n);
#ifdef NO_PERSISTED_PROMISE
  prom[n] = RE(n);
#endif
#ifdef BUG_UNSYNCED
  rec[n] = prev[n];
#endif
#ifdef NO_BOOT_WAIT
  forgot = forgot | BIT(n);
#endif
  tmp = 0;
  do
  :: tmp < N -> val[tmp] = val[tmp] & ~BIT(n); tmp++
  :: else -> break
  od;
  tmp = 0
}
/* Worth a step: something would be lost. */
#if defined(NO_PERSISTED_PROMISE) || defined(NO_BOOT_WAIT) || defined(BUG_UNSYNCED)
#define CRASH_MATTERS(n) true
#else
#define CRASH_MATTERS(n) ((own | cand) & BIT(n)) || VALS(n)
#endif
#if N == 5
#define ANY(f, n) (f(n, 0) || f(n, 1) || f(n, 2) || f(n, 3) || f(n, 4))
#elif N == 4
#define ANY(f, n) (f(n, 0) || f(n, 1) || f(n, 2) || f(n, 3))
#else
#define ANY(f, n) (f(n, 0) || f(n, 1) || f(n, 2))
#endif
#define VAL_OF(n, h) (val[h] & BIT(n))
#define VALS(n) ANY(VAL_OF, n)

#ifdef RESIGN
#ifdef NO_PERSISTED_RESIGN
#define RESIGNED(e) false
#else
#define RESIGNED(e) (resigned & BIT(e))
#endif
#else
#define RESIGNED(e) false
#endif

/* ---- What must hold after every step ---- */
hidden byte tmp;

c_decl {
  \#include <stdio.h>
  \#include <string.h>
}
c_code {
  /* Each thing that must happen somewhere is reported once, so that the runner knows what was not reached. */
  static void happened(const char* what) {
    static const char* seen[16];
    int i;
    for (i = 0; i < 15 && seen[i]; ++i)
      if (strcmp(seen[i], what) == 0) return;
    seen[i] = what;
    printf("reached: %s\n", what);
  }
  /* A line of a trail (pan -r). */
  static void show(void) {
    int n;
    for (n = 0; n < N; ++n) {
      const int epoch = now.rec[n] >> 4;
      printf(" %d:%s rec %d.%d/%d prom %d.%d lease %x ack %x |", n, now.own >> n & 1 ? "OWN" : now.cand >> n & 1 ? "ask" : "   ",
             COUNTER(epoch), epoch ? NODE(epoch) : 0, now.rec[n] & 15, COUNTER(now.prom[n]), now.prom[n] ? NODE(now.prom[n]) : 0,
             now.lease[n], now.ack[n]);
    }
    printf(" acknowledged %x\n", now.acked);
  }
  static void violated(const char* what) { printf("violated: %s\n", what); }
  /* A message that no node would do anything with, now or later, is as good as lost: epochs promised and records only grow. */
  static void forget_dead_messages(void) {
#ifndef KEEP_DEAD_MESSAGES
    int e, g;
    for (e = 1; e <= EPOCHS; ++e) {
      int keep = 0, ask = 0;
      for (g = 0; g < N; ++g) {
        if (g == NODE(e)) continue;
        if (now.prom[g] < e) ask = 1;
        if (now.prom[g] > e) continue;
        keep |= now.rec[g] >> 4 == e ? ~((2 << (now.rec[g] & 15)) - 1) : ~0;
      }
      now.sent[e] &= keep;
      if (!ask) now.asked &= ~(1 << e);
    }
#endif
  }
}

/* Ends every step. */
inline check() {
  c_code { if (readtrail) show(); forget_dead_messages(); }
}

#if N == 5
#define SUM(f) (f(0) + f(1) + f(2) + f(3) + f(4))
#elif N == 4
#define SUM(f) (f(0) + f(1) + f(2) + f(3))
#else
#define SUM(f) (f(0) + f(1) + f(2))
#endif
#define SERVES_LESS(n) (SERVES(n) && (acked & ~RS(n)))
#define SERVES_DELETED(n) (SERVES(n) && (acked & ~RS(n) & DELETE))
#define HOLDS(n) ((HAS_ATTRIBUTES(n) && (RS(n) & acked) == acked) || EXPIRED(n))
#define NEVER(what, condition) :: d_step { (condition) -> c_code { violated(what); }; assert(false) }

/* ---- What must happen somewhere, or the above says nothing ---- */
#define GOAL(what, condition) :: d_step { (condition) -> c_code { happened(what); } }
#define LAST(n) (SERVES(n) && COUNTER(RE(n)) == NUMS && acked == CLIENT)
#define STALE(n, g) ((own & BIT(n)) && SERVES(g) && RE(n) < RE(g))
#define WITH_STALE(g, n) STALE(n, g)
#define LAST_OF(x, n) LAST(n)
#define ANY_LAST ANY(LAST_OF, 0)
#define ZOMBIE(n, g) (SERVES(n) && (RS(n) & DELETE) && rec[g] && !(RS(g) & DELETE) && !EXPIRED(g))
#define ANY_ZOMBIE (ANY(ZOMBIE, 0) || ANY(ZOMBIE, 1) || ANY(ZOMBIE, 2))

/* ---- Steps of a node ---- */
#define me _pid

/* Leases: g renews its lease to me, and has validated my epoch in its term, or does so now: that binds it like a promise. */
#ifdef NO_VALIDATION
#define VALID_AT(g) true
#define VALIDATE(g, e)
#else
#define VALID_AT(g) (prom[g] <= RE(me) || (val[me] & BIT(g)))
#define VALIDATE(g, e) VALIDATED(g, e)
#endif
#define LEASE(g)                                                                                             \
  :: d_step {                                                                                                \
    (own & BIT(me)) && g != me && !(lease[me] & BIT(g)) && MEMBER(g, RS(me)) && VALID_AT(g) ->       \
    VALIDATE(g, RE(me));                                                                                     \
    lease[me] = lease[me] | BIT(g);                                                                          \
    check()                                                                                                  \
  }                                                                                                          \
  :: d_step { (lease[me] & BIT(g)) -> lease[me] = lease[me] & ~BIT(g); check() }

/* A promise, whose answer arrives, or is lost. Late is the same as now: the candidate may adopt later. */
#ifdef BUG_LOWER_PROMISED
#define ABOVE(e, p) ((e) != (p))
#else
#define ABOVE(e, p) ((e) > (p))
#endif
#ifdef NO_HEADS
#define HEAD_COUNTS(n) HAS_ATTRIBUTES(n)
#else
#define HEAD_COUNTS(n) true
#endif
#define PROMISE(e)                                                                                           \
  :: d_step {                                                                                                \
    (asked & BIT(e)) && NODE(e) != me && ABOVE(e, prom[me]) && MAY_PROMISE(me) ->                            \
    promise_away(me, e);                                                                                     \
    if                                                                                                       \
    :: (cand & BIT(NODE(e))) && prom[NODE(e)] == e ->                                                        \
      gath[NODE(e)] = gath[NODE(e)] | BIT(me);                                                               \
      if :: rec[me] > best[NODE(e)] && HEAD_COUNTS(me) -> best[NODE(e)] = rec[me] :: else fi                                    \
    :: else                                                                                                  \
    fi;                                                                                                      \
    check()                                                                                                  \
  }                                                                                                          \
  :: d_step {                                                                                                \
    (asked & BIT(e)) && NODE(e) != me && ABOVE(e, prom[me]) && MAY_PROMISE(me) && (cand & BIT(NODE(e))) &&   \
      prom[NODE(e)] == e ->                                                                                  \
    promise_away(me, e);                                                                                     \
    check()                                                                                                  \
  }

#define REPLICATE(e, set)                                                                                    \
  :: d_step {                                                                                                \
    (sent[e] & BIT(set)) && NODE(e) != me && ACCEPTS(me, e) && RECORD(e, set) > rec[me] && !EXPIRED(me) ->   \
    receive(me, e, set);                                                                                     \
    check()                                                                                                  \
  }
/* The owner sends again what it has not seen acknowledged (it may have forgotten), and the copy acknowledges again. */
#define REPEAT(n)                                                                                            \
  :: d_step {                                                                                                \
    n != me && (own & BIT(n)) && rec[n] == rec[me] && ACCEPTS(me, RE(n)) && !(ack[n] & BIT(me)) ->           \
    hear_ack(me, RE(n), RS(n));                                                                              \
    check()                                                                                                  \
  }

#if CONTENTS == 16
#define REPLICATES(e)                                                                                        \
  REPLICATE(e, 0) REPLICATE(e, 1) REPLICATE(e, 2) REPLICATE(e, 3) REPLICATE(e, 4) REPLICATE(e, 5)            \
  REPLICATE(e, 6) REPLICATE(e, 7) REPLICATE(e, JOINT | UNDO) REPLICATE(e, JOINT | UNDO | W0)
#else
#define REPLICATES(e) REPLICATE(e, 0) REPLICATE(e, 1) REPLICATE(e, 2) REPLICATE(e, 3)
#endif
#define FROM(e) PROMISE(e) REPLICATES(e)

#ifdef BUG_UNDONE_EARLY
#define UNDOABLE(n) true
#else
#define UNDOABLE(n) IN_BOTH(MAJORITY, ack[n], RS(n))
#endif

#ifdef CREATE
#define KNOWS(n) true
#else
#define KNOWS(n) RE(n)
#endif

active [N] proctype node() {
  do
  /* Takeover, 1: a copy asks to be promised. */
  :: d_step {
    !(own & BIT(me)) && KNOWS(me) && !EXPIRED(me) && COUNTER(prom[me]) < NUMS && (COPIES(RS(me)) & BIT(me)) && HAS_ATTRIBUTES(me) &&
      MAY_PROMISE(me) ->
    promise_away(me, EPOCH(COUNTER(prom[me]) + 1, me));
    cand = cand | BIT(me);
    gath[me] = BIT(me);
    best[me] = rec[me];
    asked = asked | BIT(prom[me]);
    check()
  }
  /* Takeover, 3. */
  :: d_step {
    (cand & BIT(me)) && PROMISED_BY(gath[me], best[me] & 15) && (COPIES(best[me] & 15) & BIT(me)) && CAN_ADOPT(me) ->
    adopt(me);
    check()
  }
  /* A write, 1 to 3. */
  :: d_step { SERVES(me) && !(issued & W0) && !DELETED(RS(me)) -> issued = issued | W0; write(me, W0); check() }
#if defined(W1) && WRITES > 1
  :: d_step { SERVES(me) && issued == W0 -> issued = issued | W1; write(me, W1); check() }
#endif
#ifdef TOMB
  :: d_step { SERVES(me) && !(issued & DELETE) -> issued = issued | DELETE; write(me, DELETE); check() }
  /* Delete: wall clocks differ by less than the bound; what is past it is dropped, with all that was promised. */
  :: d_step { clk[me] == 0 -> clk[me] = 1; stop_owning(me); stop_asking(me); check() }
#ifdef NO_CLOCK_BOUND
  :: d_step { clk[me] == 1 && rec[me] -> rec[me] = 0; prom[me] = 0; check() }
#else
  :: d_step { clk[me] == 1 && clk[0] && clk[1] && clk[2] -> clk[me] = 2; rec[me] = 0; prom[me] = 0; check() }
#endif
#ifdef BUG_TOMBSTONE_DROPPED
  :: d_step { DELETED(RS(me)) && (acked & DELETE) -> rec[me] = 0; prom[me] = 0; stop_owning(me); stop_asking(me); check() }
#endif
#endif
#ifdef SET
  /* Changing the copies. */
#ifdef NO_JOINT
  :: d_step { SERVES(me) && !(RS(me) & FINAL) && (NEW_COPIES & BIT(me)) -> write(me, FINAL); check() }
#else
  :: d_step { SERVES(me) && !(RS(me) & (JOINT | FINAL)) && (NEW_COPIES & BIT(me)) -> write(me, JOINT); check() }
  :: d_step {
    SERVES(me) && CHANGING(RS(me)) && (NEW_COPIES & BIT(me)) && IN_BOTH(MAJORITY, ack[me], RS(me)) ->
    write(me, FINAL);
    check()
  }
  :: d_step {
    SERVES(me) && CHANGING(RS(me)) && !(NEW_COPIES & BIT(me)) && UNDOABLE(me) ->
    write(me, UNDO);
    check()
  }
#endif
  :: d_step { SERVES(me) && (RS(me) & FINAL) && HELD_BY(ack[me], RS(me)) && !surplus -> surplus = 1; check() }
  :: d_step {
    surplus && me == 2 && rec[me] && HAS_ATTRIBUTES(me) && !(own & BIT(me)) ->
    stop_asking(me);
#ifdef NO_STUB
    rec[me] = 0;
    prom[me] = 0;
#else
    stub = stub | BIT(me);
#endif
    check()
  }
#endif
#ifdef BUG_READ_UNACKNOWLEDGED
  :: d_step { SERVES(me) && (RS(me) & CLIENT & ~acked) -> acked = acked | (RS(me) & CLIENT); check() }
#endif
#ifdef RESIGN
  /* Takeover, 4. */
  :: d_step { (own & BIT(me)) && !resigns -> resigns = 1; resigned = resigned | BIT(RE(me)); stop_owning(me); check() }
#endif
  /* Coming back: a crash, the restart, and the owner that goes on in its epoch (but with no lease yet that counts). */
  :: d_step { crashes < CRASHES && CRASH_MATTERS(me) -> crash(me); check() }
  :: d_step {
    !(own & BIT(me)) && RE(me) && NODE(RE(me)) == me && prom[me] == RE(me) && !EXPIRED(me) && !RESIGNED(RE(me)) ->
    own = own | BIT(me);
    write(me, 0);
    check()
  }
#ifdef NO_BOOT_WAIT
  /* By and by the grants that it forgot have lapsed. */
  :: d_step { (forgot & BIT(me)) && !(lease[0] & BIT(me)) && !(lease[1] & BIT(me)) && !(lease[2] & BIT(me)) -> forgot = forgot & ~BIT(me) }
#endif
  LEASE(0)
  LEASE(1)
  LEASE(2)
  REPEAT(0)
  REPEAT(1)
  REPEAT(2)
#if N > 3
  LEASE(3)
  REPEAT(3)
#endif
#if N > 4
  LEASE(4)
  REPEAT(4)
#endif
  FROM(1)
#ifdef CREATE
  FROM(2)
  FROM(3)
#endif
#if EPOCHS > N
#if N == 3
  FROM(4)
#endif
#if N < 5
  FROM(5)
#endif
  FROM(6)
#if N > 3
  FROM(7)
  FROM(8)
#endif
#if N > 4
  FROM(9)
  FROM(10)
#endif
#endif
#if EPOCHS > 2 * N
#if N == 3
  FROM(7)
  FROM(8)
#endif
#if N < 5
  FROM(9)
#endif
#if N == 4
  FROM(10)
#endif
#if N > 3
  FROM(11)
  FROM(12)
#endif
#if N > 4
  FROM(13)
  FROM(14)
  FROM(15)
#endif
#endif
#if EPOCHS > 3 * N
  FROM(10)
  FROM(11)
  FROM(12)
#endif
  od
}

/* Looks at every state. */
active proctype watcher() {
  do
  NEVER("two nodes serve one session", SUM(SERVES) > 1)
#ifdef TOMB
  NEVER("a deleted session is served again", SUM(SERVES_DELETED))
#endif
  NEVER("an acknowledged write is lost", SUM(SERVES_LESS))
  /* A witness has no attributes: then an acknowledged write may be on one disk only. Mutations that would end here, and
   * shall go further, are run with ANY_DISKS. */
#if !defined(WITNESS) && !defined(ANY_DISKS)
  NEVER("an acknowledged write is on too few disks", SUM(HOLDS) < N / 2 + N % 2)
#endif

#if !defined(CREATE) && CRASHES > 0
  GOAL("owner restarted and serves again in its epoch", crashes && SERVES(0) && RE(0) == 1 && prom[1] == 1 && prom[2] == 1)
#endif
  GOAL("all takeovers, writes and crashes done, and served", ANY_LAST && crashes == CRASHES)
  GOAL("a former owner believes that it owns while another serves", ANY(WITH_STALE, 0) || ANY(WITH_STALE, 1) || ANY(WITH_STALE, 2))
#ifdef TOMB
  GOAL("deleted, one copy live, one tombstone served", (acked & DELETE) && ANY_ZOMBIE)
  GOAL("tombstone dropped everywhere", (acked & DELETE) && !rec[0] && !rec[1] && !rec[2])
#endif
#ifdef SET
  GOAL("new copies serve after a takeover", COUNTER(RE(3)) > 1 && SERVES(3) && (RS(3) & FINAL))
  GOAL("the owner that is to be replaced took the change back", SERVES(2) && (RS(2) & UNDO))
  GOAL("a former copy keeps the head only, and new copies serve", stub && SERVES(0) && (RS(0) & FINAL) && (acked & W0))
#endif
#ifdef RESIGN
  GOAL("taken over after a resignation", resigned && ANY_LAST)
#endif
#ifdef CREATE
  GOAL("two candidates create at once", cand == 3 || cand == 6 || cand == 5)
#endif
  od
}
