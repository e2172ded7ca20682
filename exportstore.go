package cdn

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

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

// storeTime bounds the stores after a create, which go on after the end of the caller's context.
const storeTime = 15 * time.Second

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
