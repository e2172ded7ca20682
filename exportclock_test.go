package cdn

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/require"
)

// clockedService refuses a request whose date is more than 15 minutes off, as the gateway does.
type clockedService struct{ http.RoundTripper }

func (s clockedService) RoundTrip(req *http.Request) (*http.Response, error) {
	date, err := time.Parse("20060102T150405Z", req.Header.Get("X-Sdk-Date"))
	if err != nil {
		return nil, err
	}
	if time.Since(date).Abs() > 15*time.Minute {
		body := `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`
		return reply(http.StatusUnauthorized, body, "Date", time.Now().UTC().Format(http.TimeFormat)), nil
	}
	return s.RoundTripper.RoundTrip(req)
}

// onOtherMachine returns a client of the same journal on a machine whose clock is off.
func (j *journaled) onOtherMachine(off time.Duration) *CdnClient {
	p := &process{journal: j.process.journal, service: clockedService{j.service}}
	client := p.newClient(j.t)
	client.journal.clock.offset.Store(int64(off))
	return client
}

// loseCreate exports a key for a minute. The create is lost before the service accepts it.
func (j *journaled) loseCreate(key string) {
	j.t.Helper()
	j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 1 })
	ctx, cancel := context.WithTimeout(j.t.Context(), time.Minute)
	defer cancel()
	_, err := j.Export(ctx, requestOf(key), WithExportKey(key))
	require.ErrorIs(j.t, err, ErrOutcomeUnknown)
	j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 0 })
}

// A machine whose clock is hours ahead corrects it by the service's before it frees the key of a lost create.
func TestExport_lost_create_clock_ahead(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		j.loseCreate("daily")
		ahead := j.onOtherMachine(3 * time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_, err := ahead.Export(ctx, requestOf("daily"), WithExportKey("daily"))
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.Equal(t, 1, j.service.Count(servicemodel.Create), "the first request may still be accepted")
		_, err = ahead.Export(t.Context(), requestOf("daily"), WithExportKey("daily"))
		require.NoError(t, err)
	})
}

// A machine whose clock is hours behind does not wait for hours for the request of a dead process.
func TestExport_abandoned_create_clock_behind(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		j.killBeforeCreate("daily")
		behind := j.onOtherMachine(-3 * time.Hour)
		start := time.Now()
		_, err := behind.Export(t.Context(), requestOf("other"), WithExportKey("other"))
		require.NoError(t, err)
		require.Less(t, time.Since(start), 3*time.Minute)
	})
}

// killBeforeCreate kills a process between its intent and its create.
func (j *journaled) killBeforeCreate(key string) {
	j.t.Helper()
	j.service.Before(func(r servicemodel.Request) {
		if r.Kind == servicemodel.List {
			j.service.Before(nil)
			j.process.dieAfter(3) // the response, the store of the intent; then the create
		}
	})
	_, err := j.exportKey(key)
	require.Error(j.t, err)
	require.Zero(j.t, j.service.Count(servicemodel.Create))
	j.restart()
}

// hookedJournal calls a function after each record that it stores.
type hookedJournal struct {
	Journal
	stored func(key string)
}

func (h hookedJournal) Store(ctx context.Context, key string, record []byte) error {
	err := h.Journal.Store(ctx, key, record)
	h.stored(key)
	return err
}

// A machine that is suspended between the intent and the create does not send the create when it resumes:
// another one may have settled the intent. Its monotonic clock may have stopped meanwhile.
func TestExport_suspended_before_create(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		var client *CdnClient
		stores := 0
		client = j.process.newClient(t, WithJournal(hookedJournal{j.process.journal, func(string) {
			if stores++; stores == 1 {
				client.journal.clock.offset.Add(int64(20 * time.Minute))
			}
			if stores == 2 {
				require.Zero(t, j.service.Count(servicemodel.Create), "the first intent is withdrawn")
			}
		}}))
		task, err := client.Export(t.Context(), requestOf("daily"), WithExportKey("daily"))
		require.NoError(t, err)
		require.Equal(t, []string{task.TaskID}, j.owned("daily"))
		require.Equal(t, 1, j.service.Count(servicemodel.Create))
	})
}

// A lost request may be accepted while a later create is lost too. The only new task may belong to either one.
func TestExport_two_lost_creates(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		j.loseCreate("first")
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 1 })
		j.foreign("late")
		_, err := j.exportKey("second")
		var ambiguous *AmbiguousExportError
		require.ErrorAs(t, err, &ambiguous)
		require.Len(t, ambiguous.Candidates, 1)
		require.Equal(t, "late", ambiguous.Candidates[0].TaskID)
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 0 })

		time.Sleep(20 * time.Minute)
		_, err = j.exportKey("first")
		require.ErrorIs(t, err, ErrAmbiguousExport)
		require.NoError(t, j.SettleExport(t.Context(), "first", "late"))
		require.NoError(t, j.SettleExport(t.Context(), "second", ""))
		task, err := j.exportKey("first")
		require.NoError(t, err)
		require.Equal(t, "late", task.TaskID)
		task, err = j.exportKey("second")
		require.NoError(t, err)
		require.Equal(t, j.owned("second"), []string{task.TaskID})
	})
}

// A decision of an operator is kept, or can be made again, if the operator's process dies at any step.
func TestSettleExport_killed_at_each_step(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(j *journaled) // leaves the key in a state
		choice func(j *journaled) string
	}{
		{"lost create, a task", func(j *journaled) { j.loseCreate("daily"); set(j.service, "mine", "success") }, func(*journaled) string { return "mine" }},
		{"lost create, none", func(j *journaled) { j.loseCreate("daily") }, func(*journaled) string { return "" }},
		{"ambiguous, a task", ambiguousDaily, func(j *journaled) string { return j.owned("daily")[0] }},
		{"ambiguous, none", ambiguousDaily, func(*journaled) string { return "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for step := 1; !settleAndDie(t, step, test.before, test.choice) && !t.Failed(); step++ {
				require.Less(t, step, 100)
			}
		})
	}
}

func ambiguousDaily(j *journaled) {
	j.foreign("foreign")
	_, err := j.exportKey("daily")
	require.ErrorIs(j.t, err, ErrAmbiguousExport)
}

// settleAndDie kills an operator's process at a step. It reports whether SettleExport had no more steps.
func settleAndDie(t *testing.T, step int, before func(j *journaled), choice func(j *journaled) string) (survived bool) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		before(j)
		chosen := choice(j)
		j.process.dieAfter(step)
		survived = j.SettleExport(t.Context(), "daily", chosen) == nil && !j.process.dead()
		j.restart()
		stored, err := j.process.journal.Load(t.Context(), "key:daily")
		require.NoError(t, err)
		record, err := decodeKeyRecord(stored)
		require.NoError(t, err)
		time.Sleep(20 * time.Minute) // a lost create expires
		_, err = j.exportKey("other")
		require.NoError(t, err)
		if record.State == stateTask {
			task, err := j.exportKey("daily")
			require.NoError(t, err, "step %d", step)
			require.Equal(t, chosen, task.TaskID)
			return
		}
		require.NoError(t, j.SettleExport(t.Context(), "daily", chosen), "step %d: decided again", step)
		task, err := j.exportKey("daily")
		require.NoError(t, err, "step %d", step)
		if chosen != "" {
			require.Equal(t, chosen, task.TaskID)
		}
	})
	return survived
}

// A head that was edited by hand is an error. It is not read as one without open creates.
func TestExport_edited_head(t *testing.T) {
	for _, open := range []string{`{}`, `{"key":"daily"}`, `{"key":"daily","request":"x","at":"2026-11-26T00:00:00Z"}`} {
		testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
			record := `{"cdn_journal":"head","version":1,"open":[` + open + `]}`
			require.NoError(t, j.process.journal.Store(t.Context(), "head", []byte(record)))
			_, err := j.exportKey("daily")
			require.ErrorContains(t, err, "does not fit")
			require.False(t, errors.Is(err, ErrOutcomeUnknown))
		})
	}
}

// shortTurns is a journal that loses its lock after some time, as if its session was cut.
type shortTurns struct {
	Journal
	lasts time.Duration
	until time.Time
}

func (s *shortTurns) Lock(ctx context.Context) (func(), error) {
	unlock, err := s.Journal.Lock(ctx)
	s.until = time.Now().Add(s.lasts)
	return unlock, err
}

func (s *shortTurns) Store(ctx context.Context, key string, record []byte) error {
	if time.Now().After(s.until) {
		return errJournal
	}
	return s.Journal.Store(ctx, key, record)
}

// Turns of little more than two lags are enough to settle the intent of a dead process and to export.
func TestExport_short_turns(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		j.killBeforeCreate("daily")
		client := j.process.newClient(t, WithJournal(&shortTurns{Journal: j.process.journal, lasts: 13 * time.Second}))
		start := time.Now()
		for _, key := range []string{"other", "daily"} {
			for {
				_, err := client.Export(t.Context(), requestOf(key), WithExportKey(key))
				if err == nil {
					break
				}
				require.ErrorIs(t, err, errJournal)
				require.Less(t, time.Since(start), 20*time.Minute)
			}
			require.Len(t, j.owned(key), 1)
		}
	})
}
