package cdn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/huaweicloud/cdn/internal/redact"
)

const (
	recordVersion = 1
	// headName is the name of the journal's head. No key has it, because of keyPrefix.
	headName  = "head"
	keyPrefix = "key:"
	// storeTime bounds the stores after a create, which go on after the end of the caller's context.
	storeTime = 15 * time.Second
)

// The kinds of records.
const (
	kindHead = "head"
	kindKey  = "key"
)

// recordForm is what all records begin with.
type recordForm struct {
	Kind    string `json:"cdn_journal"`
	Version int    `json:"version"`
}

// keyRecord is what the journal knows of one key. A key that never had a task has none.
type keyRecord struct {
	recordForm
	State keyState `json:"state"`
	// Request is the fingerprint of the request that belongs to the key; empty if the key is free.
	Request string    `json:"request,omitempty"`
	TaskID  string    `json:"task_id,omitempty"`
	At      time.Time `json:"at"`
	// Candidates are the tasks of which one may be the key's.
	Candidates []candidate `json:"candidates,omitempty"`
}

// keyState is the state of a key.
type keyState string

const (
	stateTask      keyState = "task"      // the key has the task TaskID
	stateAmbiguous keyState = "ambiguous" // one of Candidates may be its task; an operator must say which
	stateFree      keyState = "free"      // an operator said that the key has no task
)

type candidate struct {
	TaskID     string    `json:"task_id"`
	TaskName   string    `json:"task_name,omitempty"`
	CreateTime time.Time `json:"create_time"`
}

// journalHead is the record that all creates of a journal share.
type journalHead struct {
	recordForm
	// Open are the creates whose task is not known.
	Open []intent `json:"open,omitempty"`
	// Taken are the tasks that were created lately and belong to a create. They are no candidates for others.
	Taken []takenTask `json:"taken,omitempty"`
	// Base is the last reading of the list, which the next create begins with if it is fresh.
	Base *exportBase `json:"base,omitempty"`
}

// intent is one create, stored before its request is sent.
type intent struct {
	// Key is empty for an export without a key.
	Key     string `json:"key,omitempty"`
	Request string `json:"request"`
	// At is when the intent was stored. The request is not sent after SendBy.
	At     time.Time  `json:"at"`
	SendBy time.Time  `json:"send_by"`
	Base   exportBase `json:"base"`
	// Absent reports that the list did not show the task after the lag. Only the expiry or an operator ends the intent.
	Absent bool `json:"absent,omitempty"`
}

type takenTask struct {
	TaskID string    `json:"task_id"`
	At     time.Time `json:"at"`
}

// fingerprint identifies the content of a request.
func (r *CreateExportTaskRequest) fingerprint() (string, error) {
	body, err := r.body()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16]), nil
}

// decodeRecord decodes a record of this kind. A record of a newer release or of another program is an error: half
// understood, it could free its key.
func decodeRecord(kind string, data []byte, record any) error {
	var form recordForm
	err := json.Unmarshal(data, &form)
	switch {
	case err == nil && form.Version > recordVersion:
		return fmt.Errorf("written by a newer release: version %d, this release knows %d", form.Version, recordVersion)
	case err != nil || form.Kind != kind || form.Version != recordVersion:
		return fmt.Errorf("not a record of this package, or damaged: it begins %q", redact.Excerpt(string(data), 60))
	}
	return json.Unmarshal(data, record)
}

func decodeKeyRecord(data []byte) (*keyRecord, error) {
	record := &keyRecord{}
	if data == nil {
		return &keyRecord{State: stateFree}, nil
	}
	if err := decodeRecord(kindKey, data, record); err != nil {
		return nil, err
	}
	switch {
	case record.State == stateFree,
		record.State == stateTask && record.TaskID != "",
		record.State == stateAmbiguous && record.Request != "":
		return record, nil
	}
	return nil, errStateMismatch
}

var errStateMismatch = errors.New("damaged: the state does not fit the content")

func decodeHead(data []byte) (*journalHead, error) {
	head := &journalHead{}
	if data == nil {
		return head, nil
	}
	if err := decodeRecord(kindHead, data, head); err != nil {
		return nil, err
	}
	for _, i := range head.Open {
		if i.Request == "" || i.At.IsZero() || i.SendBy.IsZero() {
			return nil, errStateMismatch
		}
	}
	return head, nil
}

// open returns the open intent of key, or nil.
func (h *journalHead) open(key string) *intent {
	return h.first(func(i intent) bool { return i.Key == key })
}

// find returns an open intent as the head has it.
func (h *journalHead) find(wanted intent) *intent { return h.first(wanted.equals) }

func (h *journalHead) first(matches func(intent) bool) *intent {
	if at := slices.IndexFunc(h.Open, matches); at >= 0 {
		return &h.Open[at]
	}
	return nil
}

// isAlone reports whether no other intent than this one is open.
func (h *journalHead) isAlone(sent intent) bool {
	return !slices.ContainsFunc(h.Open, func(i intent) bool { return !i.equals(sent) })
}

// close removes an intent.
func (h *journalHead) close(closed intent) {
	h.Open = slices.DeleteFunc(h.Open, closed.equals)
}

// equals reports whether both are the same intent. One holder of the lock at a time stores intents, so their times
// differ.
func (i intent) equals(other intent) bool { return i.Key == other.Key && i.At.Equal(other.At) }

// take notes that the task belongs to a create. It drops older notes that no reading needs any more: the bases of later
// creates have those tasks, and no open intent is as old.
func (h *journalHead) take(taskID string, now time.Time, keep time.Duration) {
	oldest := now
	for _, i := range h.Open {
		if i.At.Before(oldest) {
			oldest = i.At
		}
	}
	h.Taken = slices.DeleteFunc(h.Taken, func(t takenTask) bool { return oldest.Sub(t.At) > keep })
	h.Taken = append(h.Taken, takenTask{taskID, now})
}

func (h *journalHead) taken(taskID string) bool {
	return slices.ContainsFunc(h.Taken, func(t takenTask) bool { return t.TaskID == taskID })
}

// candidates returns the tasks in the record as far as it has them.
func (r *keyRecord) candidates() []ExportTask {
	tasks := make([]ExportTask, 0, len(r.Candidates))
	for _, c := range r.Candidates {
		tasks = append(tasks, ExportTask{TaskID: c.TaskID, TaskName: c.TaskName, CreateTime: c.CreateTime})
	}
	return tasks
}

func (t *exportTurn) loadKey(ctx context.Context, key string) (*keyRecord, error) {
	data, err := t.journal.Load(ctx, keyPrefix+key)
	if err != nil {
		return nil, err
	}
	record, err := decodeKeyRecord(data)
	if err != nil {
		return nil, fmt.Errorf("the journal's record of key %q: %w", key, err)
	}
	return record, nil
}

func (t *exportTurn) loadHead(ctx context.Context) (*journalHead, error) {
	data, err := t.journal.Load(ctx, headName)
	if err != nil {
		return nil, err
	}
	head, err := decodeHead(data)
	if err != nil {
		return nil, fmt.Errorf("the journal's record %q: %w", headName, err)
	}
	return head, nil
}

// storeKey stores a key's record, also if ctx has ended: what is known by now must not be lost.
func (t *exportTurn) storeKey(ctx context.Context, key string, record *keyRecord) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	record.recordForm = recordForm{kindKey, recordVersion}
	return t.journal.Store(ctx, keyPrefix+key, encodeRecord(record))
}

func (t *exportTurn) storeHead(ctx context.Context) error {
	t.head.recordForm = recordForm{kindHead, recordVersion}
	return t.journal.Store(ctx, headName, encodeRecord(t.head))
}

// storeDetached stores the head, also if ctx has ended.
func (t *exportTurn) storeDetached(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return t.storeHead(ctx)
}

// encodeRecord returns a record as it is stored.
func encodeRecord(record any) []byte {
	data, err := json.Marshal(record)
	if err != nil {
		panic("cdn: a record of strings and times cannot be encoded: " + err.Error())
	}
	return data
}
