package cdn

import (
	"context"
	"fmt"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
)

// Types of the official SDK's accessors, which fetch temporary credentials. The types are internal, so they are
// told by their names.
const (
	metadataAccessor = "*internal.MetadataAccessor"
	idTokenAccessor  = "*internal.FederalAccessor"
	podAccessor      = "*internal.PodIdentityAccessor"
)

func accessorType(official *global.Credentials) string {
	return fmt.Sprintf("%T", official.StsAccessor)
}

// validateOfficial refuses credentials that can never sign a request of this service.
func validateOfficial(official *global.Credentials) error {
	switch {
	case official == nil:
		return invalid("Credentials", nil, "must not be nil")
	case official.DerivedPredicate != nil:
		return fmt.Errorf("%w: Credentials: the service does not use derived signing (DerivedPredicate)", ErrInvalidParameter)
	case official.StsAccessor == nil:
		return officialKeys(official).signer.validate()
	}
	switch accessorType(official) {
	case metadataAccessor, idTokenAccessor, podAccessor:
		return nil
	}
	return fmt.Errorf("%w: Credentials: StsAccessor is a %s, not one of the official SDK's for instance metadata, "+
		"id tokens and pod identity", ErrInvalidParameter, accessorType(official))
}

// officialKeys returns the keys that official holds.
func officialKeys(official *global.Credentials) credentials {
	return credentials{
		signer:   Signer{AccessKey: official.AK, SecretKey: official.SK, SecurityToken: official.SecurityToken},
		domainID: official.DomainId,
	}
}

// officialFetch returns how to fetch the credentials of WithCredentials. It never calls the official SDK's
// accessors: they are not safe for concurrent use, take no context, do not retry, follow redirects and use proxies.
func (o *options) officialFetch() fetchFunc {
	const option = "WithCredentials, "
	official, f := o.official, newFetcher(o)
	switch accessorType(official) {
	case metadataAccessor:
		return named(option+metadataName, withDomain(official.DomainId, f.fetchMetadata))
	case podAccessor:
		return named(option+podName, withDomain(official.DomainId, f.fetchPodIdentity))
	case idTokenAccessor:
		return named(option+"id token", func(ctx context.Context) (credentials, error) {
			return federation{
				fetcher:   f,
				endpoint:  o.identityEndpoint(official.IamEndpoint),
				provider:  official.IdpId,
				tokenFile: official.IdTokenFile,
				domain:    official.DomainId,
			}.fetch(ctx)
		})
	}
	return fixed(officialKeys(official))
}

// withDomain returns fetch with an account id in its credentials.
func withDomain(id string, fetch fetchFunc) fetchFunc {
	return func(ctx context.Context) (credentials, error) {
		fetched, err := fetch(ctx)
		fetched.domainID = id
		return fetched, err
	}
}
