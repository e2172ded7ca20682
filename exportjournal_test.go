package cdn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/huaweicloud/cdn/internal/servicemodel"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// journaled is a service, a journal, and a client that uses both.
type journaled struct {
	*CdnClient
	t       *testing.T
	service *servicemodel.Service
	process *process
}

// testJournaled runs a test in fake time.
func testJournaled(t *testing.T, knobs servicemodel.Knobs, test func(t *testing.T, j *journaled)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if knobs.WorkMax == 0 {
			knobs.WorkMin, knobs.WorkMax = time.Second, 2*time.Second
		}
		service := servicemodel.New(knobs)
		service.Fill(3)
		p := &process{journal: newMemoryJournal(), service: service}
		test(t, &journaled{p.newClient(t), t, service, p})
	})
}

// exportKey exports with a key, whose request asks for the domain of the same name.
func (j *journaled) exportKey(key string) (*ExportTask, error) {
	ctx, cancel := context.WithTimeout(j.t.Context(), 3*time.Hour)
	defer cancel()
	return j.Export(ctx, requestOf(key), WithExportKey(key))
}

// restart replaces the client by one of a new process.
func (j *journaled) restart() {
	j.process = &process{journal: j.process.journal, service: j.service}
	j.CdnClient = j.process.newClient(j.t)
}

// owned returns the ids of the tasks that were created for a key.
func (j *journaled) owned(key string) (ids []string) {
	for _, task := range j.service.Tasks() {
		if task.Owner == key {
			ids = append(ids, task.ID)
		}
	}
	return ids
}

func TestExport_same_key_same_task(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		first, err := j.exportKey("daily")
		require.NoError(t, err)
		require.Equal(t, ExportTaskSuccess, first.Status)
		j.restart()
		again, err := j.exportKey("daily")
		require.NoError(t, err)
		require.Equal(t, first.TaskID, again.TaskID)
		require.Len(t, j.owned("daily"), 1)

		other, err := j.exportKey("other")
		require.NoError(t, err)
		require.NotEqual(t, first.TaskID, other.TaskID)

		_, err = j.Export(t.Context(), requestOf("other"), WithExportKey("daily"))
		require.ErrorIs(t, err, ErrInvalidParameter)
		require.ErrorContains(t, err, `ExportKey "daily": belongs to another request`)
	})
}

func TestExport_key_parameters(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		without, err := NewCdnClient(WithAKSK("ak", "sk"))
		require.NoError(t, err)
		_, err = without.Export(t.Context(), requestOf("a"), WithExportKey("a"))
		require.ErrorIs(t, err, ErrInvalidParameter)
		require.ErrorContains(t, err, "needs WithJournal")
		require.ErrorIs(t, without.SettleExport(t.Context(), "a", "1"), ErrInvalidParameter)
		for key, want := range map[string]string{"": "empty", strings.Repeat("k", 501): "500", "a\nb": "control", "\xff": "UTF-8"} {
			_, err := j.Export(t.Context(), requestOf("a"), WithExportKey(key))
			require.ErrorIs(t, err, ErrInvalidParameter, "%q", key)
			require.ErrorContains(t, err, want)
			require.ErrorIs(t, j.SettleExport(t.Context(), key, ""), ErrInvalidParameter)
		}
		for _, option := range []Option{WithJournal(nil), WithListLag(-1), WithLostCreateExpiry(0)} {
			_, err := NewCdnClient(option)
			require.ErrorIs(t, err, ErrInvalidParameter)
		}
		require.Zero(t, j.service.Count())
	})
}

// With a journal, an export without a key takes part in the turns.
func TestExport_without_key(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		first, err := j.Export(t.Context(), requestOf("a"))
		require.NoError(t, err)
		second, err := j.Export(t.Context(), requestOf("a"))
		require.NoError(t, err)
		require.NotEqual(t, first.TaskID, second.TaskID)
		require.Len(t, j.owned("a"), 2)
	})
	testJournaled(t, servicemodel.Knobs{Dropped: 1}, func(t *testing.T, j *journaled) {
		_, err := j.Export(t.Context(), requestOf("a"))
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 0 })
		_, err = j.Export(t.Context(), requestOf("a"))
		require.NoError(t, err)
	})
}

// A lost create is waited for until the service accepts its request no longer, and then made again.
func TestExport_lost_create(t *testing.T) {
	for _, test := range []struct {
		name     string
		knobs    servicemodel.Knobs
		atLeast  time.Duration
		atMost   time.Duration
		requests int // creates
	}{
		{"accepted", servicemodel.Knobs{Lost: 1}, 6 * time.Second, time.Minute, 1},
		{"accepted, list lags", servicemodel.Knobs{Lost: 1, ListLag: 5 * time.Second}, 6 * time.Second, time.Minute, 1},
		{"accepted later", servicemodel.Knobs{Lost: 1, LostLate: 10 * time.Second}, 6 * time.Second, time.Minute, 1},
		{"not accepted", servicemodel.Knobs{Dropped: 1}, 16 * time.Minute, 18 * time.Minute, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			testJournaled(t, test.knobs, func(t *testing.T, j *journaled) {
				j.service.Before(func(r servicemodel.Request) {
					if j.service.Count(servicemodel.Create) > 1 {
						go j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 0 })
						synctest.Wait()
					}
				})
				start := time.Now()
				task, err := j.exportKey("daily")
				require.NoError(t, err)
				require.Equal(t, []string{task.TaskID}, j.owned("daily"))
				require.GreaterOrEqual(t, time.Since(start), test.atLeast)
				require.LessOrEqual(t, time.Since(start), test.atMost)
				require.Equal(t, test.requests, j.service.Count(servicemodel.Create))
			})
		})
	}
}

// A context that ends while a request may still be accepted says that there may be a task, and the key goes on later.
func TestExport_lost_create_deadline(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{Dropped: 1}, func(t *testing.T, j *journaled) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := j.Export(ctx, requestOf("daily"), WithExportKey("daily"))
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, `key "daily"`)
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 0 })

		// Other keys go on, the same key with another request does not.
		_, err = j.exportKey("other")
		require.NoError(t, err)
		_, err = j.Export(t.Context(), requestOf("other"), WithExportKey("daily"))
		require.ErrorIs(t, err, ErrInvalidParameter)

		j.restart()
		_, err = j.exportKey("daily")
		require.NoError(t, err)
		require.Len(t, j.owned("daily"), 1)
	})
}

// An operator knows that a lost create made no task, and frees its key before its time.
func TestSettleExport_frees_lost_create(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{Dropped: 1}, func(t *testing.T, j *journaled) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := j.Export(ctx, requestOf("daily"), WithExportKey("daily"))
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 0 })
		require.NoError(t, j.SettleExport(t.Context(), "daily", ""))
		start := time.Now()
		_, err = j.exportKey("daily")
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Minute)
	})
}

// A refused create leaves the key free at once.
func TestExport_refused_create(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{Refused: 1}, func(t *testing.T, j *journaled) {
		_, err := j.exportKey("daily")
		require.ErrorAs(t, err, new(*APIError))
		require.NotErrorIs(t, err, ErrOutcomeUnknown)
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Refused = 0 })
		start := time.Now()
		_, err = j.exportKey("daily")
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Minute)
	})
}

// foreign creates another user's task just after a create.
func (j *journaled) foreign(id string) {
	j.service.Before(func(r servicemodel.Request) {
		if r.Kind == servicemodel.Create {
			j.service.Before(nil)
			j.service.Apply(0, servicemodel.Change{ID: id, Status: "success"})
		}
	})
}

func TestSettleExport_ambiguous(t *testing.T) {
	for _, test := range []struct {
		name   string
		choice func(ids []string) string
		tasks  int // of the key in the end
	}{
		{"one of them", func(ids []string) string { return ids[0] }, 1},
		{"none of them", func([]string) string { return "" }, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
				j.foreign("foreign")
				for range 2 {
					_, err := j.exportKey("daily")
					var ambiguous *AmbiguousExportError
					require.ErrorAs(t, err, &ambiguous)
					require.ErrorContains(t, err, `key "daily"`)
					var ids []string
					for _, candidate := range ambiguous.Candidates {
						ids = append(ids, candidate.TaskID)
						require.NotZero(t, candidate.CreateTime)
					}
					require.ElementsMatch(t, append(j.owned("daily"), "foreign"), ids)
					j.restart()
				}
				_, err := j.exportKey("other")
				require.NoError(t, err)
				_, err = j.Export(t.Context(), requestOf("other"), WithExportKey("daily"))
				require.ErrorIs(t, err, ErrInvalidParameter)

				chosen := test.choice(j.owned("daily"))
				require.NoError(t, j.SettleExport(t.Context(), "daily", chosen))
				task, err := j.exportKey("daily")
				require.NoError(t, err)
				require.Contains(t, j.owned("daily"), task.TaskID)
				require.Len(t, j.owned("daily"), test.tasks)
				if chosen != "" {
					require.Equal(t, chosen, task.TaskID)
				}
			})
		})
	}
}

func TestSettleExport_refuses(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		other, err := j.exportKey("other")
		require.NoError(t, err)
		require.ErrorIs(t, j.SettleExport(t.Context(), "daily", other.TaskID), ErrInvalidParameter, "unknown key")
		require.NoError(t, j.SettleExport(t.Context(), "daily", ""), "free already")
		j.foreign("foreign")
		_, err = j.exportKey("daily")
		require.ErrorIs(t, err, ErrAmbiguousExport)
		require.ErrorIs(t, j.SettleExport(t.Context(), "daily", "nothing"), ErrTaskNotFound)
		err = j.SettleExport(t.Context(), "daily", other.TaskID)
		require.ErrorIs(t, err, ErrInvalidParameter)
		require.ErrorContains(t, err, "cdn: SettleExport: ")
		require.ErrorContains(t, err, "is the task of another export")
	})
}

// A task that failed stays the key's until an operator frees it.
func TestExport_failed_task_of_key(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{Fails: 1}, func(t *testing.T, j *journaled) {
		for range 2 {
			task, err := j.exportKey("daily")
			require.ErrorIs(t, err, ErrTaskFailed)
			require.ErrorContains(t, err, `it remains the task of key "daily" until SettleExport frees the key`)
			require.NotNil(t, task)
		}
		require.Len(t, j.owned("daily"), 1)
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Fails = 0 })
		require.NoError(t, j.SettleExport(t.Context(), "daily", ""))
		_, err := j.exportKey("daily")
		require.NoError(t, err)
		require.Len(t, j.owned("daily"), 2)
	})
}

// A task that the service has removed stays the key's too.
func TestExport_removed_task_of_key(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		task, err := j.exportKey("daily")
		require.NoError(t, err)
		j.service.Apply(0, servicemodel.Change{ID: task.TaskID, Remove: true})
		_, err = j.exportKey("daily")
		require.ErrorIs(t, err, ErrTaskNotFound)
		require.ErrorContains(t, err, "until SettleExport frees the key")
		require.NoError(t, j.SettleExport(t.Context(), "daily", ""))
		_, err = j.exportKey("daily")
		require.NoError(t, err)
	})
}

// A process that dies at any step leaves a state from which the next one goes on, to one task.
func TestExport_killed_at_each_step(t *testing.T) {
	for _, knobs := range []servicemodel.Knobs{{}, {NamesTask: true}} {
		for step := 1; ; step++ {
			survived := false
			t.Run(fmt.Sprintf("names task %v, step %d", knobs.NamesTask, step), func(t *testing.T) {
				testJournaled(t, knobs, func(t *testing.T, j *journaled) {
					j.process.killAt = step
					_, err := j.exportKey("daily")
					survived = err == nil && !j.process.dead()
					created := j.owned("daily")
					j.restart()
					task, err := j.exportKey("daily")
					require.NoError(t, err)
					require.Equal(t, []string{task.TaskID}, j.owned("daily"))
					if len(created) == 1 {
						require.Equal(t, created[0], task.TaskID)
					}
				})
			})
			if survived || t.Failed() {
				break
			}
			require.Less(t, step, 100)
		}
	}
}

// failingJournal fails at one call.
type failingJournal struct {
	Journal
	failAt int
	calls  int
}

var errJournal = errors.New("the disk is full")

func (f *failingJournal) fails() bool { f.calls++; return f.calls == f.failAt }

func (f *failingJournal) Lock(ctx context.Context) (func(), error) {
	if f.fails() {
		return nil, errJournal
	}
	return f.Journal.Lock(ctx)
}

func (f *failingJournal) Load(ctx context.Context, key string) ([]byte, error) {
	if f.fails() {
		return nil, errJournal
	}
	return f.Journal.Load(ctx, key)
}

func (f *failingJournal) Store(ctx context.Context, key string, record []byte) error {
	if f.fails() {
		return errJournal
	}
	return f.Journal.Store(ctx, key, record)
}

// A journal that fails before the create keeps it from being sent. One that fails after it leaves an error that says so,
// and the next call finds the task.
func TestExport_journal_fails(t *testing.T) {
	for failAt, test := range []struct {
		name    string
		unknown bool // whether the error leaves it open if there is a task
		success bool
	}{
		{"lock", false, false},
		{"load the head", false, false},
		{"load the key", false, false},
		{"store the intent", false, false},
		{"store the task", true, false},
		{"store the head", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
				failing := &failingJournal{Journal: j.process.journal, failAt: failAt + 1}
				client := j.process.newClient(t, WithJournal(failing))
				_, err := client.Export(t.Context(), requestOf("daily"), WithExportKey("daily"))
				require.Equal(t, test.success, err == nil)
				if err != nil {
					require.ErrorIs(t, err, errJournal)
					assert.Equal(t, test.unknown, errors.Is(err, ErrOutcomeUnknown))
				}
				require.Len(t, j.owned("daily"), map[bool]int{true: 1}[test.unknown || test.success])
				_, err = j.exportKey("daily")
				require.NoError(t, err)
				require.Len(t, j.owned("daily"), 1)
			})
		})
	}
}

// A record that is not understood is an error that names the key, never a new task.
func TestExport_damaged_records(t *testing.T) {
	for _, test := range []struct{ name, key, record, want string }{
		{"newer key", "key:daily", `{"cdn_journal":"key","version":2,"state":{}}`, "written by a newer release"},
		{"newer head", "head", `{"cdn_journal":"head","version":9}`, "written by a newer release"},
		{"garbage", "key:daily", "garbage", "damaged"},
		{"empty", "key:daily", "", "damaged"},
		{"null", "key:daily", "null", "damaged"},
		{"empty object", "key:daily", "{}", "damaged"},
		{"cut short", "key:daily", `{"cdn_journal":"key","version":1,"state":"ta`, "damaged"},
		{"no task", "key:daily", `{"cdn_journal":"key","version":1,"state":"task"}`, "does not fit"},
		{"unknown state", "key:daily", `{"cdn_journal":"key","version":1,"state":"x","task_id":"1"}`, "does not fit"},
		{"a key for a head", "head", `{"cdn_journal":"key","version":1}`, "damaged"},
		{"a head for a key", "key:daily", `{"cdn_journal":"head","version":1}`, "damaged"},
		{"head cut short", "head", `{"cdn_journal":`, "damaged"},
		{"version 0", "head", `{"cdn_journal":"head"}`, "damaged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
				require.NoError(t, j.process.journal.Store(t.Context(), test.key, []byte(test.record)))
				_, err := j.exportKey("daily")
				require.ErrorContains(t, err, "cdn: Export: ")
				require.ErrorContains(t, err, test.want)
				name, _ := strings.CutPrefix(test.key, "key:")
				require.ErrorContains(t, err, fmt.Sprintf("%q", name))
				require.Zero(t, j.service.Count(servicemodel.Create))
			})
		})
	}
}

// The fingerprint of a request must not change: keys in journals would belong to another request.
func TestFingerprint_is_stable(t *testing.T) {
	got, err := (&CreateExportTaskRequest{
		Action: ActionReportsDetail, DomainNames: []string{"a.example", "b.example"}, StartTime: time.UnixMilli(1767225600000),
		EndTime: time.UnixMilli(1767312000000), GroupBy: "domain", Interval: 5 * time.Minute, ServiceArea: ServiceAreaGlobal,
		StatType: StatTypeFlux, Countries: []string{"cn"}, Provinces: []string{"all"}, ISP: "all", Language: LanguageEnglish,
	}).fingerprint()
	require.NoError(t, err)
	require.Equal(t, "fd813fb439802a6addf8a01f34d12623", got)
}

// What an export with a key costs: the create, and one reading of the list if exports follow each other.
func TestExport_requests_per_key(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{}, func(t *testing.T, j *journaled) {
		const keys = 20
		start := time.Now()
		for i := range keys {
			_, err := j.journal.export(t.Context(), requestOf(fmt.Sprint(i)), fmt.Sprint(i))
			require.NoError(t, err)
		}
		require.Equal(t, 1+2*keys, j.service.Count())
		require.Equal(t, keys*6*time.Second, time.Since(start), "each holds the lock for one lag")
	})
}

// A process that dies between its two last stores leaves a task that is not known to be taken. It is no candidate for a
// lost create that expires meanwhile.
func TestExport_expired_create_beside_unfinished_one(t *testing.T) {
	testJournaled(t, servicemodel.Knobs{Dropped: 1}, func(t *testing.T, j *journaled) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := j.Export(ctx, requestOf("lost"), WithExportKey("lost"))
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		j.service.Adjust(func(k *servicemodel.Knobs) { k.Dropped = 0 })
		failing := &failingJournal{Journal: j.process.journal, failAt: 6}
		_, err = j.process.newClient(t, WithJournal(failing)).Export(t.Context(), requestOf("daily"), WithExportKey("daily"))
		require.NoError(t, err)
		time.Sleep(20 * time.Minute)
		_, err = j.exportKey("lost")
		require.NoError(t, err)
		require.Len(t, j.owned("lost"), 1)
	})
}

// A service that sends 0 for a time has none.
func TestExportBase_isAbove(t *testing.T) {
	base := exportBase{Boundary: 1000}
	for created, want := range map[time.Time]bool{
		{}:                   true,
		time.UnixMilli(0):    true,
		time.UnixMilli(1000): false,
		time.UnixMilli(1001): true,
	} {
		assert.Equal(t, want, base.isAbove(ExportTask{CreateTime: created}), created)
	}
}
